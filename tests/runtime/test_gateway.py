"""The gateway's sockets: had, refused in words, moved and let go of."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable

from headgate.plan.plan import Listener, Plan
from headgate.runtime.gateway import Gateway, Options, why_not


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _plan(*listeners: tuple[str, int]) -> Plan:
    return Plan(tuple(Listener(gateway, f"on-{port}", port) for gateway, port in listeners))


def _run(story: Callable[[Gateway], Awaitable[None]], **options: str) -> list[str]:
    said: list[str] = []

    async def main() -> None:
        gateway = Gateway(Options(**options), said.append, None)  # type: ignore[arg-type]
        await gateway.start()
        try:
            await story(gateway)
        finally:
            await gateway.stop(0.0)

    asyncio.run(main())
    return said


async def _answers(address: str, port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 404 ")


def test_sockets_follow_the_plan() -> None:
    first, second = _free_port(), _free_port()

    async def story(gateway: Gateway) -> None:
        await gateway.apply(_plan(("default/a", first)))
        assert await _answers("127.0.0.1", first)
        kept = gateway.sockets["127.0.0.1", first]
        await gateway.apply(_plan(("default/a", first), ("default/b", second)))
        assert gateway.sockets["127.0.0.1", first] is kept
        assert await _answers("127.0.0.1", second)
        await gateway.apply(_plan(("default/b", second)))
        assert not await _answers("127.0.0.1", first)
        await gateway.apply(_plan(("default/b", second), ("default/c", second)))
        assert gateway.place(gateway.plan.listeners[1]) == ("127.0.0.2", second)
        assert await _answers("127.0.0.2", second)

    assert _run(story) == []


def test_ipv6_is_served() -> None:
    port = _free_port()

    async def story(gateway: Gateway) -> None:
        await gateway.apply(_plan(("default/a", port)))
        assert await _answers("::1", port)

    assert _run(story, address="::1") == []


def test_a_port_that_is_taken_is_said_once_and_had_later() -> None:
    async def story(gateway: Gateway) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            await gateway.apply(_plan(("default/a", port)))
            await gateway.listen_again()
            await gateway.apply(_plan(("default/a", port)))
            assert gateway.sockets == {}
        await gateway.listen_again()
        assert await _answers("127.0.0.1", port)
        await gateway.listen_again()

    refused, had = _run(story)
    assert refused.startswith("Gateway default/a is not served at 127.0.0.1:")
    assert refused.endswith(" there. It is tried again each second.")
    assert had.endswith(" now.")


def test_a_gateway_that_has_no_address_is_said_once_whatever_is_tried_again() -> None:
    port = _free_port()

    async def story(gateway: Gateway) -> None:
        for _ in range(3):
            await gateway.apply(_plan(("default/a", port), ("default/b", port)))
            await gateway.listen_again()
        assert await _answers("::1", port)

    assert _run(story, address="::1") == [
        f"Gateway default/b is not served: it wants ::1 port {port}, which Gateway default/a has; "
        "give one of them another port"
    ]


def test_an_address_that_is_not_one_of_this_machine_is_said() -> None:
    for address in ("192.0.2.1", "no-such-host.invalid"):
        said = _run(lambda gateway: gateway.apply(_plan(("default/a", 8080))), address=address)
        assert len(said) == 1
        assert said[0].startswith(
            f"Gateway default/a is not served at {address}:8080: this machine has no address {address}."
        )


def test_a_port_for_root_is_said_with_the_way_round() -> None:
    told = why_not(OSError(errno.EACCES, "Permission denied"), "127.0.0.1", 80)
    assert told == "port 80 is for root only; without --privileged-ports it is served at port + 8000"
    assert why_not(OSError(errno.EMFILE, "?"), "127.0.0.1", 80) == "Too many open files"
