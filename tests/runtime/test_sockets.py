"""Listening sockets: one for each process, none that somebody else has, and those that we had already."""

import asyncio
import errno
import socket
from collections import Counter

import pytest

from headgate.runtime.sockets import Binding, bind


def _bind(address: str, port: int, processes: int, had: tuple[socket.socket, ...] = ()) -> Binding:
    return asyncio.run(bind(address, port, processes, had))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_the_kernel_shares_connections_out_among_the_processes_sockets() -> None:
    port = _free_port()
    binding = _bind("127.0.0.1", port, 3)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    accepted: Counter[int] = Counter()
    for which in range(3):
        (own,) = binding.share(which, 3)
        while True:
            try:
                own.accept()[0].close()
            except BlockingIOError:
                break
            accepted[which] += 1
    assert accepted.total() == 60
    assert len(accepted) == 3
    for client in clients:
        client.close()
    binding.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_that_somebody_has_is_not_shared_whether_they_would_or_not(shares: bool) -> None:
    with socket.socket() as other:
        if shares:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        for processes in (1, 2):
            with pytest.raises(OSError, match=r".") as caught:
                _bind("127.0.0.1", other.getsockname()[1], processes)
            assert caught.value.errno == errno.EADDRINUSE


def test_sockets_that_we_had_are_used_and_others_are_added() -> None:
    port = _free_port()
    first = _bind("127.0.0.1", port, 1)
    more = _bind("127.0.0.1", port, 3, first.sockets)
    assert first.sockets[0] in more.sockets
    assert [len(more.share(which, 3)) for which in range(3)] == [1, 1, 1]
    fewer = _bind("127.0.0.1", port, 2, more.sockets)
    assert sorted(len(fewer.share(which, 2)) for which in range(2)) == [1, 2]
    assert fewer.number != more.number
    fewer.close()


def test_a_name_with_two_addresses_has_sockets_at_both_for_each_process() -> None:
    families = {family for family, *_ in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    binding = _bind("localhost", _free_port(), 2)
    for which in range(2):
        assert {one.family for one in binding.share(which, 2)} == families
    binding.close()
