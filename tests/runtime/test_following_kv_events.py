"""KV events over real ZeroMQ sockets: numbers, gaps, replays, restarts, and floods."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
import pytest
import uvloop
import zmq

from headgate.fleet.held_blocks import HeldBlocks
from headgate.fleet.prefix import ladder
from headgate.runtime.exposition import Page
from headgate.runtime.kv_events import Follower
from headgate.runtime.kv_source import CONNECTING, EARLY, LATE, SILENT, TOO_MUCH, UNREADABLE, Where
from headgate.sim.tokens import ids

CONTENT = bytes(range(1, 65)) * 16  # 16 blocks of 16 tokens
RUNGS = ladder("m", CONTENT)
SIZE = 16


def stored(blocks: int = 16, first: int = 1) -> dict[str, object]:
    return {
        "type": "BlockStored",
        "block_hashes": list(range(first, first + blocks)),
        "parent_block_hash": None,
        "token_ids": ids(CONTENT)[: blocks * SIZE],
        "block_size": SIZE,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
    }


def removed(*names: int) -> dict[str, object]:
    return {"type": "BlockRemoved", "block_hashes": list(names), "medium": "GPU"}


CLEARED = {"type": "AllBlocksCleared"}


class Server:
    """What publishes. `port` 0: any free one."""

    def __init__(self, port: int = 0, replays: int = 0, *, can_replay: bool = False, topics: bool = True) -> None:
        self.topic = (b"kv@pod@m",) if topics else ()  # vLLM before 0.32 sends none with what it sends again
        self.context = zmq.Context()
        self.pub = self._bound(zmq.XPUB, port)
        self.port = int(self.pub.last_endpoint.rpartition(b":")[2])
        self.number = 0
        self.kept: list[tuple[int, bytes]] = []
        self.replay = self._bound(zmq.ROUTER, replays) if can_replay else None
        self.replay_port = int(self.replay.last_endpoint.rpartition(b":")[2]) if self.replay else None
        self.asked: list[int] = []

    def _bound(self, kind: int, port: int) -> zmq.Socket:
        made = self.context.socket(kind)
        made.linger = 0
        made.bind(f"tcp://127.0.0.1:{port or '*'}")
        return made

    async def heard_of(self) -> None:
        """Until somebody has subscribed."""
        while not self.pub.poll(0):  # noqa: ASYNC110 - its socket is not the loop's
            await asyncio.sleep(0.005)
        self.pub.recv()

    def tell(self, *events: dict[str, object], lost: bool = False, raw: bytes | None = None) -> None:
        payload = msgspec.msgpack.encode([time.time(), list(events), 0]) if raw is None else raw
        self.kept.append((self.number, payload))
        if not lost:
            self.pub.send_multipart((b"kv@pod@m", self.number.to_bytes(8, "big"), payload))
        self.number += 1

    def answer(self) -> None:
        """Those who ask for what they missed."""
        while self.replay is not None and self.replay.poll(0):
            who, _, first = self.replay.recv_multipart()
            self.asked.append(int.from_bytes(first, "big"))
            for number, payload in self.kept:
                if number >= self.asked[-1]:
                    self.replay.send_multipart((who, b"", *self.topic, number.to_bytes(8, "big"), payload))
            nothing = (b"",) if self.topic else ()
            self.replay.send_multipart((who, b"", *nothing, (-1).to_bytes(8, "big", signed=True), b""))

    def close(self) -> None:
        self.context.destroy(linger=0)


class Rig:
    def __init__(self, held: HeldBlocks | None = None) -> None:
        self.held = HeldBlocks() if held is None else held
        self.held.learn(RUNGS, len(CONTENT), ids(CONTENT), "", SIZE)
        self.changes: list[str] = []
        self.follower = Follower(self.held, self.changes.append)

    def watch(self, server: Server) -> None:
        self.follower.watch([Where("a", "127.0.0.1", server.port, server.replay_port, "kv@")])

    async def until(self, condition: Callable[[], object], *servers: Server) -> None:
        async with asyncio.timeout(10):
            while not condition():
                for server in servers:
                    server.answer()
                await asyncio.sleep(0.005)

    @property
    def note(self) -> str | None:
        return self.follower.note("a")

    def match(self) -> int:
        return self.held.match(RUNGS, {}).get("a", 0)

    def gaps(self) -> float:
        page = Page()
        self.follower.describe(page)
        families = {family.name: family for family in page.families}
        return sum(families["headgate_endpoint_kv_event_gaps_total"].samples.values())


def play(scene: Callable[[Rig, Server], Awaitable[None]], *, can_replay: bool = False, limit: int = 1_000_000) -> None:
    async def main() -> None:
        server, rig = Server(can_replay=can_replay), Rig(HeldBlocks(limit=limit))
        wrong: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
        try:
            rig.watch(server)
            await server.heard_of()
            await scene(rig, server)
        finally:
            rig.follower.close()
            server.close()
        assert not wrong

    uvloop.run(main())


def test_a_stream_from_number_0_on_is_trusted():
    async def scene(rig: Rig, server: Server) -> None:
        await rig.until(lambda: rig.note == EARLY)
        server.tell(stored())
        await rig.until(lambda: rig.note == "" and rig.match() == 1024)
        server.tell(removed(16), removed(15))
        await rig.until(lambda: rig.match() == 512)
        server.tell(CLEARED)
        await rig.until(lambda: rig.match() == 0)
        assert rig.note == ""
        assert "a" in rig.changes
        assert rig.gaps() == 0

    play(scene)


def test_without_a_replay_what_comes_after_a_gap_is_all_that_is_known_until_all_is_cleared():
    async def scene(rig: Rig, server: Server) -> None:
        server.tell(stored())
        await rig.until(lambda: rig.match() == 1024)
        server.tell(removed(1), lost=True)
        server.tell(stored(4, first=101))
        await rig.until(lambda: rig.note == LATE)
        await rig.until(lambda: rig.match() == 256)
        assert rig.gaps() == 1
        server.tell(CLEARED, stored(8, first=201))
        await rig.until(lambda: rig.note == "" and rig.match() == 512)

    play(scene)


def test_what_was_missed_is_asked_for_and_then_nothing_is_missing():
    async def scene(rig: Rig, server: Server) -> None:
        await rig.until(lambda: rig.note == "", server)
        server.tell(stored())
        await rig.until(lambda: rig.match() == 1024, server)
        server.tell(removed(16), lost=True)
        server.tell(removed(15), lost=True)
        server.tell(stored(1, first=500))
        await rig.until(lambda: rig.match() == 512, server)
        await rig.until(lambda: rig.note == "", server)
        assert rig.gaps() == 1
        assert server.asked == [0, 0]  # the last one that was known, too

    play(scene, can_replay=True)


@pytest.mark.parametrize("topics", [False, True])
def test_who_joins_late_is_told_all_by_the_replay(topics):
    async def main() -> None:
        server, rig = Server(can_replay=True, topics=topics), Rig()
        try:
            for _ in range(5):
                server.tell(stored(4))
            server.tell(stored())
            rig.watch(server)
            await rig.until(lambda: rig.note == "" and rig.match() == 1024, server)
        finally:
            rig.follower.close()
            server.close()

    uvloop.run(main())


def test_a_replay_that_has_forgotten_the_beginning_is_not_trusted():
    async def main() -> None:
        server, rig = Server(can_replay=True), Rig()
        try:
            for _ in range(5):
                server.tell(stored(4))
            server.tell(stored(first=101))
            del server.kept[:3]
            rig.watch(server)
            await rig.until(lambda: rig.note == LATE and rig.match() == 1024, server)
            assert not rig.held.trusted("a")
        finally:
            rig.follower.close()
            server.close()

    uvloop.run(main())


@pytest.mark.parametrize("can_replay", [False, True])
def test_another_server_at_the_same_place_begins_with_nothing(can_replay):
    async def scene(rig: Rig, server: Server) -> None:
        server.tell(stored())
        await rig.until(lambda: rig.note == "" and rig.match() == 1024, server)
        server.close()
        await rig.until(lambda: rig.note == CONNECTING)
        assert not rig.held.trusted("a")
        another = Server(server.port, server.replay_port or 0, can_replay=can_replay)
        try:
            await rig.until(lambda: rig.note != CONNECTING, another)
            await rig.until(lambda: rig.match() == 0, another)
            await another.heard_of()
            another.tell(stored(8))
            await rig.until(lambda: rig.note == "" and rig.match() == 512, another)
        finally:
            another.close()

    play(scene, can_replay=can_replay)


def test_a_connection_that_broke_is_made_good_where_there_is_a_replay():
    async def scene(rig: Rig, server: Server) -> None:
        server.tell(stored(8))
        await rig.until(lambda: rig.note == "" and rig.match() == 512, server)
        server.pub.unbind(server.pub.last_endpoint)
        server.pub.close()
        await rig.until(lambda: rig.note == CONNECTING, server)
        server.pub = server._bound(zmq.XPUB, server.port)
        server.tell(stored(), lost=True)
        await rig.until(lambda: rig.note == "" and rig.match() == 1024, server)

    play(scene, can_replay=True)


def test_what_can_not_be_read_is_a_gap():
    async def scene(rig: Rig, server: Server) -> None:
        server.tell(stored())
        await rig.until(lambda: rig.match() == 1024)
        server.tell(raw=b"\xc1")
        await rig.until(lambda: rig.note == UNREADABLE)
        assert rig.match() == 0
        server.tell(stored(4))
        await rig.until(lambda: rig.match() == 256)
        assert rig.note == UNREADABLE
        server.tell(CLEARED)
        await rig.until(lambda: rig.note == "")

    play(scene)


def test_who_has_more_blocks_than_may_be_known_is_left():
    async def scene(rig: Rig, server: Server) -> None:
        server.tell(stored())
        await rig.until(lambda: rig.note == TOO_MUCH)
        server.tell(stored(2))
        server.tell(CLEARED)
        await asyncio.sleep(0)
        assert rig.match() == 0

    play(scene, limit=10)


def test_who_is_silent_after_a_new_prompt_is_not_trusted():
    async def scene(rig: Rig, server: Server) -> None:
        server.tell(stored(4))
        await rig.until(lambda: rig.note == "" and rig.match() == 256)
        rig.held.sent(RUNGS, "a")
        for _ in range(10):
            rig.follower._tick()
        assert rig.note == SILENT
        server.tell(stored())
        await rig.until(lambda: rig.note == "")

    play(scene)


def test_a_flood_of_events_never_stands_in_the_way_of_the_event_loop():
    """By the time that this thread computes: others may have the processor."""

    async def scene(rig: Rig, server: Server) -> None:
        server.tell(stored())
        await rig.until(lambda: rig.match() == 1024)
        longest, before, done = 0.0, time.thread_time(), False
        for number in range(900):
            server.tell(*[stored(16, first=1000 * number + 20 * place) for place in range(20)])
        server.tell({"type": "BlockStored", "block_hashes": list(range(10_000_000, 10_012_000)), "medium": "GPU",
                     "parent_block_hash": None, "token_ids": [7] * 12_000 * SIZE, "block_size": SIZE, "lora_id": None,
                     "lora_name": None})  # fmt: skip
        before = time.thread_time()
        while not done:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now
            holding = rig.held.holding("a")
            assert holding is not None
            done = len(holding) >= 12_000
        assert rig.gaps() == 0
        assert longest < 0.05

    play(scene)
