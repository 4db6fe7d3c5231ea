"""Requests that stand in the queues of their pool: woken in their turn, and gone without a trace when they leave."""

import asyncio
import json

import pytest
from rig import Rig, eventually, run
from test_proxy_room import Paced, numbered

from headgate.flow.discipline import Discipline, Rule
from headgate.plan.plan import Model

POOL = {"models": {"urgent": Model("urgent", 1), "cheap": Model("cheap", -1)}}
MODELS = ("m", "urgent", "cheap")


def queued(rig: Rig) -> int:
    return sum(control.queued for control in rig.controls.values())


async def line_up(rig: Rig, paced: Paced, *models: str) -> list:
    """One that runs, and then these, each once the one before stands in its queue."""
    clients = []
    for number, model in enumerate(("m", *models)):
        client = await rig.client()
        await client.send(numbered(number, model))
        await eventually(lambda n=number: len(paced.order) + queued(rig) == n + 1)
        clients.append(client)
    return clients


def play(scenario, queueing: Discipline | None = None, **more) -> None:
    run(scenario, queueing=queueing or Discipline(), pool=POOL, models=MODELS, **more)


def test_who_waits_is_woken_in_the_order_of_priorities():
    async def scenario(rig: Rig):
        paced = Paced()
        await rig.backend(paced.answer)
        clients = await line_up(rig, paced, "cheap", "m", "urgent", "m")
        for _ in clients:
            paced.gate.release()
        replies = [await client.answer() for client in clients]
        assert {reply.status for reply in replies} == {200}
        assert paced.order == ["0", "3", "2", "4", "1"]
        assert paced.most == 1

    play(scenario)


def test_who_leaves_the_queue_is_passed_over():
    async def scenario(rig: Rig):
        paced = Paced()
        await rig.backend(paced.answer)
        clients = await line_up(rig, paced, "m", "m", "m")
        await clients[2].close()
        await eventually(lambda: queued(rig) == 2)
        for _ in range(3):
            paced.gate.release()
        assert [(await clients[n].answer()).status for n in (0, 1, 3)] == [200] * 3
        assert paced.order == ["0", "1", "3"]
        gone = next(record for record in rig.records if record.status == 499)
        assert gone.stay.outcome == "rejected-context-cancelled"

    play(scenario)


def test_who_leaves_a_server_makes_room_for_the_next_one():
    async def scenario(rig: Rig):
        paced = Paced()
        await rig.backend(paced.answer)
        clients = await line_up(rig, paced, "m")
        await clients[0].close()
        await eventually(lambda: paced.order == ["0", "1"])
        paced.gate.release()
        paced.gate.release()
        assert (await clients[1].answer()).status == 200

    play(scenario)


def test_time_is_over_for_who_has_waited_for_long():
    async def scenario(rig: Rig):
        paced = Paced()
        await rig.backend(paced.answer)
        clients = await line_up(rig, paced, "m")
        reply = await clients[1].answer()
        assert reply.status == 429
        assert reply.headers["x-llm-d-request-dropped-reason"] == "rejected-ttl-expired"
        paced.gate.release()
        assert (await clients[0].answer()).status == 200
        # The connection is as good as before.
        await clients[1].send(numbered(2))
        paced.gate.release()
        assert (await clients[1].answer()).status == 200

    play(scenario, Discipline(ttl_s=0.2))


def test_who_gives_way_in_a_full_queue_is_told_at_once():
    async def scenario(rig: Rig):
        paced = Paced()
        await rig.backend(paced.answer)
        clients = await line_up(rig, paced, "cheap")
        urgent = await rig.client()
        await urgent.send(numbered(2, "urgent"))
        reply = await clients[1].answer()
        assert (reply.status, reply.headers["x-llm-d-request-dropped-reason"]) == (429, "evicted-priority")
        assert json.loads(reply.body)["error"]["code"] == "evicted"
        paced.gate.release()
        paced.gate.release()
        assert [(await client.answer()).status for client in (clients[0], urgent)] == [200, 200]

    play(scenario, Discipline(max_requests=1))


def test_what_is_under_way_gives_way_and_its_server_is_left_in_peace():
    async def scenario(rig: Rig):
        paced = Paced()
        backend = await rig.backend(paced.answer)
        cheap = await rig.client()
        await cheap.send(numbered(0, "cheap"))
        await eventually(lambda: paced.now == 1)
        urgent = await rig.client()
        await urgent.send(numbered(1, "urgent"))
        reply = await cheap.answer()
        assert (reply.status, reply.headers["x-llm-d-request-dropped-reason"]) == (429, "evicted")
        await eventually(lambda: paced.order == ["0", "1"])
        paced.gate.release()
        paced.gate.release()
        assert (await urgent.answer()).status == 200
        assert rig.ledger.count(backend.name) == 0

    play(scenario, Discipline(evicts=True))


def test_more_than_can_be_woken_at_once_all_go():
    async def scenario(rig: Rig):
        paced = Paced()
        await rig.backend(paced.answer)
        clients = await line_up(rig, paced, *["m"] * 3)
        more = [await rig.client() for _ in range(150)]
        for number, client in enumerate(more):
            await client.send(numbered(number + 4))
        await eventually(lambda: queued(rig) == 153)
        control = rig.controls["p"]
        rig.views["p"].control = None
        control.disband(0.0)
        rig.plane.wake("p")
        await eventually(lambda: paced.now == 154)
        for _ in range(154):
            paced.gate.release()
        for client in (*clients, *more):
            assert (await client.answer()).status == 200

    play(scenario)


@pytest.mark.parametrize("grace", [0.3, 10.0])
def test_at_the_end_those_that_wait_have_the_grace_and_then_hear_of_it(grace):
    async def scenario(rig: Rig):
        paced = Paced()
        await rig.backend(paced.answer)
        clients = await line_up(rig, paced, "m")
        late = await rig.client()
        draining = asyncio.create_task(rig.plane.drain(grace, grace))
        await eventually(lambda: rig.plane.draining)
        await late.send(numbered(9))
        reply = await late.answer()
        assert (reply.status, reply.headers["x-llm-d-request-dropped-reason"]) == (503, "rejected-shutting-down")
        if grace > 1.0:
            paced.gate.release()
            paced.gate.release()
            assert [(await client.answer()).status for client in clients] == [200, 200]
        else:
            reply = await clients[1].answer()
            assert (reply.status, reply.headers["x-llm-d-request-dropped-reason"]) == (503, "rejected-shutting-down")
            paced.gate.release()
        await draining

    play(scenario)


def test_a_band_that_is_full_refuses_over_the_wire():
    async def scenario(rig: Rig):
        paced = Paced()
        await rig.backend(paced.answer)
        clients = await line_up(rig, paced, "m")
        refused = await rig.client()
        await refused.send(numbered(2))
        reply = await refused.answer()
        assert (reply.status, reply.headers["retry-after"]) == (429, "1")
        for _ in clients:
            paced.gate.release()
        assert [(await client.answer()).status for client in clients] == [200, 200]

    play(scenario, Discipline(default=Rule(max_requests=1)))
