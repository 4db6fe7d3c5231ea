"""Follow the KV events of model servers: ZeroMQ in, `HeldBlocks` told. Numbers without gaps, or what was known is gone.

One place's messages are numbered from 0. Where some are missing, or the connection broke, the server's replay endpoint
is asked for the rest, beginning with the last one that was taken: if that is another one now, it is another server. No
replay, no trust: then the place goes by what was sent there, until its cache is cleared or it starts anew.
Source: ZmqEventPublisher in vllm/distributed/kv_events.py.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic, time
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from headgate.fleet.held_blocks import Full, HeldBlocks
from headgate.fleet.kv_events import Event, parts, read
from headgate.runtime.exposition import Page, labelled
from headgate.runtime.kv_source import (
    CONNECTING,
    EARLY,
    LATE,
    REPLAYING,
    SILENT,
    TOO_MUCH,
    UNREADABLE,
    Missing,
    Source,
    Where,
    place,
)

if TYPE_CHECKING:
    import zmq

_TURN_S = 0.005  # of one turn of the event loop, however many events there are
_REPLAY_S = 5.0
_QUEUED = 1000  # messages, in a socket and here; beyond that some are lost, which is seen by their numbers
_LONGEST = 1 << 20  # bytes of a message: some 200,000 tokens
_AT_ONCE = 1000  # blocks
_TICK_S = 1.0
_END = -1


class Follower:
    """Tells `held` what the endpoints' caches hold. `changed(endpoint)` is called when it is trusted, or no longer.

    All of it takes at most 5 ms of a turn of the event loop; what is left over waits for the next.
    """

    def __init__(self, held: HeldBlocks, changed: Callable[[str], None]) -> None:
        try:
            import zmq
        except ImportError:
            raise Missing from None
        self._zmq = zmq
        self._held = held
        self._changed = changed
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sources: dict[str, Source] = {}
        self._ready: deque[Source] = deque()
        self._working = False
        self._ticks = 0
        self._loop = asyncio.get_running_loop()
        self._ticker: asyncio.TimerHandle | None = self._loop.call_later(_TICK_S, self._tick)

    def watch(self, wanted: Iterable[Where]) -> None:
        """These are all endpoints to follow."""
        before, self._sources = self._sources, {}
        for where in wanted:
            source = before.get(where.endpoint)
            if source is not None and source.where == where:
                self._sources[where.endpoint] = before.pop(where.endpoint)
            else:
                if source is not None:
                    self._close(before.pop(where.endpoint))
                self._sources[where.endpoint] = self._open(where)
        for source in before.values():
            self._close(source)
            self._held.forget(source.where.endpoint)

    def note(self, endpoint: str) -> str | None:
        """Why an endpoint's events are not gone by, "" where they are; None where it is not followed."""
        source = self._sources.get(endpoint)
        if source is None:
            return None
        return SILENT if not source.note and not self._held.trusted(endpoint) else source.note

    def describe(self, page: Page) -> None:
        """Write its metrics."""
        families: tuple[tuple[str, str, str, Callable[[Source], float]], ...] = (
            ("kv_events_total", "counter", "KV events that the endpoint told.", lambda one: one.events),
            ("kv_event_gaps_total", "counter", "Times that KV events were missing.", lambda one: one.gaps),
            ("kv_event_lag_seconds", "gauge", "Age of the last KV events when they came.", lambda one: one.lag),
            ("kv_blocks", "gauge", "Blocks that it is known to hold.", self._blocks),
            ("kv_events_trusted", "gauge", "Whether prefixes go by its KV events.", lambda one: int(
                self.note(one.where.endpoint) == "")),
        )  # fmt: skip
        rows = [(labelled((("endpoint", name),)), source) for name, source in sorted(self._sources.items())]
        for name, kind, text, value in families:
            page.family(f"headgate_endpoint_{name}", kind, text)
            for inside, source in rows:
                page.series(f"headgate_endpoint_{name}", inside, value(source))
        text = "Rungs of prompts that count as held because they were sent in the last four seconds."
        page.one("headgate_prefixes_on_trust", "gauge", text, self._held.on_trust)

    def _blocks(self, source: Source) -> int:
        holding = self._held.holding(source.where.endpoint)
        return len(holding) if holding is not None else 0

    def close(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        for source in self._sources.values():
            self._close(source)
        self._sources = {}
        self._context.destroy(linger=0)

    # Sockets.

    def _open(self, where: Where) -> Source:
        zmq, source = self._zmq, Source(where)
        source.sub = sub = self._socket(zmq.SUB, where)
        source.monitor = sub.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._loop.add_reader(source.monitor.FD, self._look, source)
        self._loop.add_reader(sub.FD, self._look, source)
        sub.subscribe(where.topic)
        sub.connect(place(where.address, where.port))
        self._held.follow(where.endpoint, whole=False)
        return source

    def _socket(self, kind: int, where: Where) -> "zmq.Socket[bytes]":
        made = self._context.socket(kind)
        made.linger = 0
        made.rcvhwm = _QUEUED
        made.maxmsgsize = _LONGEST
        made.reconnect_ivl, made.reconnect_ivl_max = 100, 2000
        made.ipv6 = ":" in where.address
        return made

    def _close(self, source: Source) -> None:
        self._end_replay(source)
        if source.monitor is not None and source.sub is not None:
            self._loop.remove_reader(source.monitor.FD)
            self._loop.remove_reader(source.sub.FD)
            source.sub.disable_monitor()
            source.monitor.close()
            source.sub.close()
        source.sub = source.monitor = None
        source.work.clear()
        source.held.clear()

    # Turns.

    def _look(self, source: Source) -> None:
        """A socket of it may have something. Descriptors tell of a change once: all must be taken, now or later."""
        if source not in self._ready:
            self._ready.append(source)
        if not self._working:
            self._work()

    def _work(self) -> None:
        """One source after the other, an event at a time."""
        self._working, more = True, False  # who asks for a replay begins no turn in this one
        until = monotonic() + _TURN_S
        try:
            while self._ready and not more:
                while not more and self._step(self._ready[0]):
                    more = monotonic() >= until
                if not more:
                    self._ready.popleft()
            self._ready.rotate(-1)
            if more:
                self._loop.call_soon(self._work)
        finally:
            self._working = more

    def _step(self, source: Source) -> bool:
        """Do a little; whether there was anything to do."""
        if source.sub is None:
            return False
        if source.work:
            self._take(source, source.work.popleft())
            return True
        frames = self._receive(source.monitor)
        if frames is not None:
            self._connection(source, int.from_bytes(frames[0][:2], "little"))
            return True
        frames = self._receive(source.replay)
        if frames is not None:
            if len(frames) in (3, 4):  # since vLLM 0.32 with the topic before the number
                self._replayed(source, int.from_bytes(frames[-2], "big", signed=True), frames[-1])
            return True
        frames = self._receive(source.sub)
        if frames is None:
            return False
        if len(frames) == 3 and len(frames[1]) == 8:
            self._heard(source, int.from_bytes(frames[1], "big"), frames[2])
        return True

    def _receive(self, one: "zmq.Socket[bytes] | None") -> list[bytes] | None:
        if one is None:
            return None
        with contextlib.suppress(self._zmq.Again):
            return one.recv_multipart(self._zmq.NOBLOCK)
        return None

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(_TICK_S, self._tick)
        before = {name: self._held.trusted(name) for name in self._sources}
        self._held.tick()
        self._ticks += 1
        if not self._ticks % 2:
            self._held.turn()
        for name, trusted in before.items():
            if self._held.trusted(name) != trusted:
                self._changed(name)

    # What comes.

    def _connection(self, source: Source, event: int) -> None:
        if event == self._zmq.EVENT_DISCONNECTED:
            self._end_replay(source)
            self._pause(source, CONNECTING)
        elif source.where.replay is not None:
            self._ask_again(source)
        else:  # nobody can say what was missed, nor whether it is the same server
            late = source.next is not None
            self._anew(source)
            self._noted(source, LATE if late else EARLY)

    def _heard(self, source: Source, number: int, payload: bytes) -> None:
        if source.replay is not None:
            source.held.append((number, payload))
            if len(source.held) > _QUEUED:
                self._replay_failed(source)
            return
        if number <= source.live:  # it has begun to count again
            self._anew(source)
        source.live = number
        if source.next is None:
            if not number or source.where.replay is None:
                self._begin(source, number, whole=not number)
            else:
                self._ask_again(source, (number, payload))
                return
        elif number < source.next:
            return  # it was sent again already
        elif number > source.next:
            source.gaps += 1
            if source.where.replay is not None:
                self._ask_again(source, (number, payload))
                return
            self._begin(source, number, whole=False)
        self._accept(source, number, payload)

    def _accept(self, source: Source, number: int, payload: bytes) -> None:
        source.next, source.last = number + 1, xxh3_64_intdigest(payload)
        try:
            batch = read(payload)
        except ValueError:
            source.gaps += 1
            self._begin(source, number + 1, whole=False, note=UNREADABLE)
            return
        source.lag = round(max(0.0, time() - batch.ts), 6)
        source.events += len(batch.events)
        for event in batch.events:
            source.work.extend(parts(event, _AT_ONCE))

    def _take(self, source: Source, event: Event) -> None:
        endpoint = source.where.endpoint
        holding = self._held.holding(endpoint)
        if holding is None:
            if source.note == TOO_MUCH:
                return
            # Its server was said to have ended: what comes now is another one's, or the last of that one.
            self._held.follow(endpoint, whole=False)
            self._noted(source, LATE)
        try:
            self._held.take(endpoint, (event,))
        except Full:
            self._noted(source, TOO_MUCH)
            return
        if source.note in (LATE, UNREADABLE) and self._held.trusted(endpoint):
            self._noted(source, "")  # all was cleared: nothing is missing any more

    # What was missed.

    def _ask_again(self, source: Source, *held: tuple[int, bytes]) -> None:
        """From the last one on that was taken, which tells whether it is still the same server."""
        where = source.where
        assert where.replay is not None
        self._end_replay(source)
        source.held.extend(held)
        source.replay = again = self._socket(self._zmq.DEALER, where)
        again.connect(place(where.address, where.replay))
        self._loop.add_reader(again.FD, self._look, source)
        source.verified = not source.next
        again.send_multipart((b"", max(0, (source.next or 0) - 1).to_bytes(8, "big")))
        source.give_up = self._loop.call_later(_REPLAY_S, self._replay_failed, source)
        self._pause(source, REPLAYING)
        self._look(source)

    def _replayed(self, source: Source, number: int, payload: bytes) -> None:
        due = source.next
        if number == _END:
            self._replay_over(source)
        elif due is None:
            self._begin(source, number, whole=not number, note=REPLAYING)
            self._accept(source, number, payload)
        elif number == due and source.verified:
            self._accept(source, number, payload)
        elif number == due - 1 and xxh3_64_intdigest(payload) == source.last:
            source.verified = True
        else:
            self._start_over(source)

    def _start_over(self, source: Source) -> None:
        """It is not the server whose events we know, or it has kept too few."""
        held = tuple(source.held)
        self._anew(source)
        self._ask_again(source, *held)

    def _replay_over(self, source: Source) -> None:
        self._end_replay(source)
        if not source.verified:
            self._start_over(source)
            return
        if source.next is None:  # it has told nothing yet, or what came meanwhile
            first = source.held[0][0] if source.held else 0
            self._begin(source, first, whole=not first)
        holding = self._held.holding(source.where.endpoint)
        if holding is not None:
            holding.paused = False
        self._noted(source, "" if holding is not None and holding.whole else LATE)
        self._catch_up(source)

    def _replay_failed(self, source: Source) -> None:
        self._end_replay(source)
        if source.held:
            self._begin(source, source.held[0][0], whole=False)
            self._catch_up(source)
        else:
            self._anew(source)
            self._noted(source, LATE)

    def _catch_up(self, source: Source) -> None:
        """What came during the replay."""
        waiting, source.held = source.held, deque()
        for number, payload in waiting:
            source.live = max(source.live, number)
            if source.next is not None and number < source.next:
                continue
            if number != source.next:
                source.gaps += 1
                self._begin(source, number, whole=False)
            self._accept(source, number, payload)

    def _end_replay(self, source: Source) -> None:
        if source.give_up is not None:
            source.give_up.cancel()
            source.give_up = None
        if source.replay is not None:
            self._loop.remove_reader(source.replay.FD)
            source.replay.close()
            source.replay = None

    # What it is worth.

    def _begin(self, source: Source, number: int, *, whole: bool, note: str | None = None) -> None:
        """What it tells from this number on is all that is known of it, `whole` where that is all there is."""
        source.work.clear()
        source.next = number
        self._held.follow(source.where.endpoint, whole=whole)
        self._noted(source, note if note is not None else "" if whole else LATE)

    def _anew(self, source: Source) -> None:
        """Nothing that it has told counts any more."""
        source.work.clear()
        source.held.clear()
        source.next, source.live = None, -1
        self._held.follow(source.where.endpoint, whole=False)
        self._noted(source, EARLY)

    def _pause(self, source: Source, note: str) -> None:
        """What it holds is kept, for it may turn out that nothing was missed."""
        holding = self._held.holding(source.where.endpoint)
        if holding is not None:
            holding.paused = True
        self._noted(source, note)

    def _noted(self, source: Source, note: str) -> None:
        if source.note != note:
            source.note = note
            self._changed(source.where.endpoint)
