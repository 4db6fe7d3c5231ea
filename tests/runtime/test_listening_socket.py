"""A listening socket that is to end: who is on the way still comes, and nobody else."""

import socket
import sys

import pytest

from headgate.runtime.sockets import take_no_more


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: no other system can filter a socket")
def test_who_came_before_is_served_and_who_comes_later_waits_until_it_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = listening.getsockname()
        early = socket.create_connection(place)
        take_no_more(listening)
        late = socket.socket()
        late.settimeout(0.2)
        with pytest.raises(TimeoutError):
            late.connect(place)
        late.close()
        listening.settimeout(5)
        connection, peer = listening.accept()
        assert peer == early.getsockname()
        early.sendall(b"what was sent right behind it")
        assert connection.recv(100) == b"what was sent right behind it"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, 5)
    for one in (early, connection):
        one.close()


def test_what_is_no_socket_any_more_takes_nothing_anyway() -> None:
    one = socket.socket()
    one.close()
    take_no_more(one)
