"""A gateway that ends, or lets go of a listener, under load: no request that could be sent is lost."""

import asyncio
from time import monotonic

import pytest
from model_servers import REQUEST, World, play

from headgate.plan.plan import Listener, Plan
from headgate.runtime.gateway import Gateway


class Tally:
    def __init__(self) -> None:
        self.answered = self.parted = self.refused = 0
        self.lost: list[str] = []


async def keep_asking(place: tuple[str, int], tally: Tally, requests_each: int) -> None:
    """One request after the other, so many on each connection, until nobody listens."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(*place)
        except OSError:
            tally.refused += 1
            return
        try:
            for _ in range(requests_each):
                writer.write(REQUEST)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                if not head.startswith(b"HTTP/1.1 200 "):
                    tally.lost.append(head.decode())
                tally.answered += 1
                if b"connection: close" in head:
                    tally.parted += 1
                    break
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            tally.lost.append(repr(error))
        finally:
            writer.close()


@pytest.mark.parametrize("requests_each", [1, 1_000_000])
def test_a_gateway_that_stops_answers_every_request_that_it_was_sent(requests_each: int) -> None:
    async def story(world: World) -> None:
        for model in world.models:
            model.takes = 0.01
        (place,) = world.gateway.sockets
        tally = Tally()
        clients = [asyncio.create_task(keep_asking(place, tally, requests_each)) for _ in range(40)]
        await world.until(lambda: tally.answered > 200)
        began = monotonic()
        await world.gateway.stop(5.0, 0.5)
        assert monotonic() - began < 3, "nothing is waited for that does not come"
        await asyncio.gather(*clients)
        assert tally.lost == []
        assert tally.refused == 40
        assert tally.parted >= (40 if requests_each > 1 else 1), "clients are told that it was their last request"

    assert play(story) == []


def test_connections_that_ask_nothing_are_closed_soon_after_and_one_that_asks_just_then_is_answered() -> None:
    async def story(world: World) -> None:
        (place,) = world.gateway.sockets
        idle, late = await asyncio.open_connection(*place), await asyncio.open_connection(*place)
        stopping = asyncio.create_task(world.gateway.stop(5.0, 0.4))
        await asyncio.sleep(0.1)
        late[1].write(REQUEST)
        head = await late[0].readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in head
        began = monotonic()
        assert await idle[0].read() == b""
        assert monotonic() - began < 1
        await stopping
        for _, writer in (idle, late):
            writer.close()

    assert play(story) == []


def test_a_listener_that_goes_answers_who_came_and_one_that_stays_refuses_nobody() -> None:
    async def story(world: World) -> None:
        for model in world.models:
            model.takes = 0.01
        gateway: Gateway = world.gateway
        (place,) = gateway.sockets
        staying, going = Tally(), Tally()
        before = gateway.plan
        other = Listener("ns/other", "http", place[1], routes=before.listeners[0].routes)
        both = Plan((*before.listeners, other), before.pools)
        clients = [asyncio.create_task(keep_asking(place, staying, 3)) for _ in range(10)]
        for _ in range(3):
            await gateway.apply(both)
            (second,) = gateway.sockets.keys() - {place}
            served = going.answered
            leaving = [asyncio.create_task(keep_asking(second, going, 1)) for _ in range(20)]
            await world.until(lambda n=served: going.answered > n + 50)
            await gateway.apply(before)
            await asyncio.gather(*leaving)
        assert going.lost == []
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        assert (staying.lost, staying.refused) == ([], 0)
        assert staying.answered > 100

    assert play(story) == []
