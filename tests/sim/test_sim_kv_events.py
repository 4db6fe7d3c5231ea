"""The simulator's KV events: what they say of its cache, and how they are published."""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from subprocess import PIPE, run
from sys import executable

import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from simulators import COMMAND, Running, running

from headgate.sim.blocks import Cleared, Removed
from headgate.sim.draft import keys
from headgate.sim.engine import Config, Engine
from headgate.sim.sequence import Stored, Work
from headgate.sim.tokens import chat, ids

SIZE = 4


def work(number: int, seed: int, prompt: int, output: int) -> Work:
    content = bytes([seed]) * (4 * min(prompt, 24)) + bytes([100 + number]) * (4 * (max(prompt - 24, 0) + output))
    return Work(str(number), prompt, output, keys(content, SIZE, ""), "", True, content)


WORKS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 60), st.integers(1, 12)), min_size=1, max_size=25)


@given(WORKS, st.integers(20, 40), st.booleans())
def test_notes_say_at_every_step_what_is_cached_and_a_head_outlives_its_tail(works, blocks, at_once):
    engine = Engine(Config(block_size=SIZE, num_blocks=blocks, max_num_batched_tokens=32, max_num_seqs=4))
    notes = engine.blocks.notes = []
    copies: Counter[int] = Counter()
    parents: dict[int, int] = {}

    def follow() -> None:
        for note in notes:
            if isinstance(note, Stored):
                for place in range(note.first, note.past):
                    copies[note.work.keys[place]] += 1
                    if place:
                        parents[note.work.keys[place]] = note.work.keys[place - 1]
            elif isinstance(note, Removed):
                copies[note.key] -= 1
        notes.clear()
        held = {key for key, count in copies.items() if count}
        assert held == engine.blocks.cached()
        assert all(parents[key] in held for key in held if key in parents)

    now = 0.0
    for number, (seed, prompt, output) in enumerate(works):
        one = work(number, seed, prompt, output)
        if at_once:
            engine.at_once(one, now)
        else:
            engine.add(one, now)
        while not at_once and engine.next_at is not None and engine.waiting:
            now = engine.next_at
            engine.step(now)
            follow()
        follow()
    while engine.next_at is not None:
        now = engine.next_at
        engine.step(now)
        follow()
    assert engine.blocks.clear()
    assert isinstance(notes[-1], Cleared)
    assert not engine.blocks.cached()


# Over sockets.


class Told(msgspec.Struct, array_like=True):
    ts: float
    events: list[dict[str, object]]
    rank: int | None = None


def events(port: int, replay: int = 0) -> str:
    found = {"enable_kv_cache_events": True, "topic": "kv@pod@m", "endpoint": f"tcp://*:{port}"}
    if replay:
        found["replay_endpoint"] = f"tcp://*:{replay}"
    return json.dumps(found)


def free_ports(count: int) -> list[int]:
    context = zmq.Context.instance()
    sockets = [context.socket(zmq.PUB) for _ in range(count)]
    found = [one.bind_to_random_port("tcp://127.0.0.1") for one in sockets]
    for one in sockets:
        one.close(0)
    return found


@pytest.fixture
def published() -> Iterator[tuple[Running, zmq.Socket, int]]:
    port, replay = free_ports(2)
    flags = ("--speed", "0", "--block-size", "16", "--max-model-len", "1024", "--num-gpu-blocks-override", "70")
    dev = {"VLLM_SERVER_DEV_MODE": "1"}
    with running(*flags, "--kv-events-config", events(port, replay), environment=dev) as server:
        yield server, subscribed(port), replay


def subscribed(port: int) -> zmq.Socket:
    """A socket that is connected; that the server knows what it wants may take a moment more."""
    told = zmq.Context.instance().socket(zmq.SUB)
    told.linger, told.rcvtimeo = 0, 10_000
    told.subscribe(b"kv@")
    monitor = told.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    told.connect(f"tcp://127.0.0.1:{port}")
    assert monitor.poll(10_000)
    told.disable_monitor()
    return told


def ask(server: Running, path: str, body: Mapping[str, object]) -> bytes:
    data = json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://{server.host}:{server.port}{path}", data, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def said(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 1}


def until_heard(server: Running, told: zmq.Socket) -> list[bytes]:
    """The first message that comes through: a subscription takes its time to arrive."""
    told.rcvtimeo = 100
    for number in range(100):
        ask(server, "/v1/chat/completions", said(f"{number} " * 40))
        try:
            frames = told.recv_multipart()
        except zmq.Again:
            continue
        told.rcvtimeo = 10_000
        return frames
    raise AssertionError("nothing was heard")


def test_blocks_are_told_as_vllm_tells_them(published):
    server, told, _ = published
    topic, number, _ = until_heard(server, told)
    assert topic == b"kv@pod@m"
    assert len(number) == 8
    ask(server, "/v1/chat/completions", said("a" * 400))
    topic, following, payload = told.recv_multipart()
    assert int.from_bytes(following, "big") == int.from_bytes(number, "big") + 1
    batch = msgspec.msgpack.decode(payload, type=Told)
    assert batch.rank == 0
    stored = next(event for event in batch.events if event["type"] == "BlockStored")
    expected = ids(chat([("user", "a" * 400)], answer=True))
    full = len(expected) // 16
    assert stored["token_ids"] == expected[: full * 16]
    assert len(stored["block_hashes"]) == full
    assert stored["parent_block_hash"] is None
    assert (stored["block_size"], stored["medium"], stored["group_idx"]) == (16, "GPU", 0)
    assert stored["lora_name"] is None
    # The next turn goes on from there.
    ask(server, "/v1/chat/completions", said("a" * 400 + "b" * 400))
    longer = msgspec.msgpack.decode(told.recv_multipart()[2], type=Told).events[-1]
    assert longer["parent_block_hash"] in stored["block_hashes"]
    assert ask(server, "/reset_prefix_cache", {}) == b'{"success":true}'
    assert msgspec.msgpack.decode(told.recv_multipart()[2], type=Told).events == [{"type": "AllBlocksCleared"}]


def test_what_was_missed_is_sent_again_to_who_asks(published):
    server, told, replay = published
    until_heard(server, told)
    for number in range(5):
        ask(server, "/v1/chat/completions", said(f"{number}" * 300))
    again = zmq.Context.instance().socket(zmq.DEALER)
    again.linger, again.rcvtimeo = 0, 10_000
    again.connect(f"tcp://127.0.0.1:{replay}")
    again.send_multipart((b"", (2).to_bytes(8, "big")))
    numbers = []
    while True:
        nothing, topic, number, batch = again.recv_multipart()
        assert nothing == b""
        numbers.append(int.from_bytes(number, "big", signed=True))
        if numbers[-1] < 0:
            assert (topic, batch) == (b"", b"")
            break
        assert topic.startswith(b"kv@")
    assert numbers[:-1] == list(range(2, numbers[-2] + 1))
    assert len(numbers) > 4


def test_who_can_not_be_published_for_is_told_why():
    def complaint(config: str) -> str:
        done = run([executable, "-c", COMMAND, "--kv-events-config", config], stderr=PIPE, text=True, timeout=20)
        assert done.returncode == 2
        return done.stderr

    assert "neither: write" in complaint('{"publisher": "kafka"}')
    assert "unknown field" in complaint('{"publishr": "zmq"}')
    assert 'write one like "tcp://*:5557"' in complaint('{"enable_kv_cache_events": true, "endpoint": "5557"}')
