"""As many requests as endpoints may have: the others wait for their turn, in the order in which they came."""

import asyncio

import pytest
from rig import Rig, eventually, run
from wire import CHAT, Request, hang, ok

from headgate.pick.room import Room


class Paced:
    """A server that answers when it is told to, and knows how many it had at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.order: list[str] = []
        self.gate = asyncio.Semaphore(0)

    async def answer(self, request: Request) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.order.append(request.headers.get("x-n", ""))
        try:
            await self.gate.acquire()
        finally:
            self.now -= 1
        await request.reply()


def numbered(number: int, model: str = "m") -> bytes:
    body = b'{"model":"%b"}' % model.encode()
    return CHAT.split(b"content-length")[0] + b"x-n: %d\r\ncontent-length: %d\r\n\r\n%b" % (number, len(body), body)


def waiting(rig: Rig) -> int:
    return sum(map(len, rig.plane.parked.values()))


@pytest.mark.parametrize("room", [Room(endpoint=2), Room(pool=4), Room(2, 4)])
def test_no_more_than_may_are_under_way_and_all_are_answered_in_their_order(room):
    async def scenario(rig: Rig):
        paced = [Paced(), Paced()]
        for one in paced:
            await rig.backend(one.answer)
        clients = [await rig.client() for _ in range(20)]
        for number, client in enumerate(clients):
            await client.send(numbered(number))
            await eventually(lambda n=number: sum(len(one.order) for one in paced) + waiting(rig) == n + 1)
        assert waiting(rig) == 16
        assert sum(one.now for one in paced) == 4
        for _ in range(20):
            for one in paced:
                one.gate.release()
        replies = [await client.answer() for client in clients]
        assert {reply.status for reply in replies} == {200}
        assert sum(one.most for one in paced) <= 4
        served = sorted(map(int, paced[0].order + paced[1].order))
        assert served == list(range(20))
        in_order = sorted(rig.records, key=lambda record: record.asked_at)
        assert [record.waited for record in in_order] == [False] * 4 + [True] * 16
        sent = [record.sent_at for record in in_order]
        assert sent == sorted(sent), "first come, first served"

    run(scenario, room=room)


def test_one_that_waits_too_long_gets_429_and_the_others_go_on():
    async def scenario(rig: Rig):
        paced = Paced()
        await rig.backend(paced.answer)
        first, second = await rig.client(), await rig.client()
        await first.send(numbered(0))
        await eventually(lambda: paced.order)
        await second.send(numbered(1))
        reply = await second.answer()
        assert (reply.status, reply.error["code"]) == (429, "saturated")
        assert reply.headers["retry-after"] == "1"
        assert "1 requests under way" in reply.error["message"]
        await second.send(numbered(2))
        await eventually(lambda: waiting(rig))
        paced.gate.release()
        paced.gate.release()
        assert (await first.answer()).status == 200
        assert (await second.answer()).status == 200

    run(scenario, room=Room(endpoint=1), wait_s=0.3)


@pytest.mark.parametrize("ends", ["client resets", "server resets", "late"])
def test_however_a_request_ends_the_next_one_goes(ends):
    async def scenario(rig: Rig):
        backend = await rig.backend(hang)
        first, second = await rig.client(), await rig.client()
        await first.send(numbered(0))
        await eventually(lambda: backend.requests)
        await second.send(numbered(1))
        await eventually(lambda: waiting(rig))
        backend.answer = ok
        if ends == "client resets":
            first.reset()
        elif ends == "server resets":
            backend.requests[0].reset()
        assert (await second.answer()).status == 200
        if ends == "late":
            assert (await first.answer()).status == 504

    run(scenario, room=Room(endpoint=1), backend_timeout_s=0.5)


def test_clients_that_leave_the_queue_are_not_waited_for():
    async def scenario(rig: Rig):
        paced = Paced()
        await rig.backend(paced.answer)
        clients = [await rig.client() for _ in range(6)]
        for number, client in enumerate(clients):
            await client.send(numbered(number))
            await eventually(lambda n=number: len(paced.order) + waiting(rig) == n + 1)
        for client in clients[1:5]:
            client.reset()
        await eventually(lambda: waiting(rig) == 1)
        paced.gate.release()
        paced.gate.release()
        assert (await clients[5].answer()).status == 200
        assert paced.order == ["0", "5"]

    run(scenario, room=Room(endpoint=1))


def test_who_waits_for_another_model_is_not_held_up():
    async def scenario(rig: Rig):
        paced = [Paced(), Paced()]
        for one in paced:
            await rig.backend(one.answer)
        rig.only = {"ns/b0": ("m",), "ns/b1": ("other",)}
        rig.see()
        clients = [await rig.client() for _ in range(4)]
        for number, (client, model) in enumerate(zip(clients, ("m", "other", "m", "other"), strict=True)):
            await client.send(numbered(number, model))
            await eventually(lambda n=number: sum(len(o.order) for o in paced) + waiting(rig) == n + 1)
        paced[1].gate.release()
        await eventually(lambda: paced[1].order == ["1", "3"])
        assert paced[0].order == ["0"]
        for one in paced:
            one.gate.release()
            one.gate.release()
        assert [(await client.answer()).status for client in clients] == [200] * 4

    run(scenario, room=Room(endpoint=1), models=("m", "other"))


def test_an_endpoint_that_joins_takes_those_that_wait_the_first_first():
    async def scenario(rig: Rig):
        paced = [Paced(), Paced()]
        await rig.backend(paced[0].answer)
        clients = [await rig.client() for _ in range(200)]
        for number, client in enumerate(clients):
            await client.send(numbered(number))
        await eventually(lambda: len(paced[0].order) + waiting(rig) == 200)
        await rig.backend(paced[1].answer)
        rig.plane.wake("p")
        await eventually(lambda: len(paced[1].order) == 50)
        assert waiting(rig) == 100
        in_order = list(map(int, paced[0].order))
        assert set(map(int, paced[1].order)).isdisjoint(in_order)
        for _ in range(200):
            for one in paced:
                one.gate.release()
        assert {(await client.answer()).status for client in clients} == {200}

    run(scenario, room=Room(endpoint=50))
