"""Streams go by as they are, but for the one event that nobody asked for; however they were cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import bodies, events

from headgate.exchange.meter import Hider, Reader
from headgate.exchange.usage import Usage

STREAMS = bodies("text/event-stream")
WITH_USAGE = {name: stream for name, stream in STREAMS.items() if b'"usage":{' in stream}
COMPLETIONS = {name: stream for name, stream in WITH_USAGE.items() if name.startswith(("chat", "completion"))}
CUTS = st.lists(st.integers(0, 5000), max_size=12)
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
USAGE = b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n'
DONE = b"data: [DONE]\n\n"


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def through(meter: Hider | Reader, parts: list[bytes]) -> bytes:
    return b"".join([meter.feed(part) for part in parts]) + meter.end()


def told(stream: bytes) -> Usage:
    """The usage by the last event that has one, read by JSON alone."""
    for event in reversed(events(stream)):
        usage = event.get("usage") or event.get("response", {}).get("usage")
        if usage:
            cached = (usage.get("input_tokens_details") or {}).get("cached_tokens")
            prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
            return Usage(prompt, usage.get("completion_tokens", usage.get("output_tokens")), cached)
    raise AssertionError(stream)


def test_there_are_recorded_streams_of_every_api():
    assert {"chat stream with usage", "completion stream with usage all along"} <= COMPLETIONS.keys()
    assert {"response stream", "message stream"} <= WITH_USAGE.keys()


@settings(deadline=None)
@given(st.sampled_from(sorted(STREAMS)), CUTS)
def test_a_reader_changes_nothing_and_finds_the_usage(name, cuts):
    stream, reader = STREAMS[name], Reader(lines=True)
    parts = pieces(stream, cuts)
    assert through(reader, parts) == stream
    assert reader.usage == (told(stream) if name in WITH_USAGE else None)
    assert reader.pieces == len(parts)


@settings(deadline=None)
@given(st.sampled_from(sorted(COMPLETIONS)), CUTS, st.booleans())
def test_the_event_that_nobody_asked_for_is_taken_out(name, cuts, crlf):
    """And nothing else: what is left is byte for byte what it would have been without that event."""
    stream = COMPLETIONS[name].replace(b"\n", b"\r\n") if crlf else COMPLETIONS[name]
    end = b"\r\n\r\n" if crlf else b"\n\n"
    parts = stream.split(end)
    left = end.join([part for part in parts if b'"choices":[],"usage":{' not in part])
    assert len(left) < len(stream)
    hider = Hider()
    assert through(hider, pieces(stream, cuts)) == left
    assert hider.usage == told(stream)


@given(
    st.lists(st.sampled_from([CHUNK, USAGE, DONE, b": ping\n\n", b"data:\n\n", b"\n", b"event: x\n"]), max_size=8), CUTS
)
def test_how_a_stream_is_cut_does_not_matter(some, cuts):
    stream = b"".join(some)
    whole, cut = Hider(), Hider()
    assert through(whole, [stream]) == through(cut, pieces(stream, cuts))
    assert whole.usage == cut.usage == (Usage(5, 6) if USAGE in some else None)


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"data: {", b"data", b'"usage":{', b"\n", b"}"]), max_size=12)
)
def test_a_stream_without_such_an_event_stays_as_it_is(parts):
    assert through(Hider(), parts) == b"".join(parts)
    assert through(Reader(lines=True), parts) == b"".join(parts)
    assert through(Reader(lines=False), parts) == b"".join(parts)


@settings(deadline=None)
@given(st.sampled_from(sorted(COMPLETIONS)), CUTS)
def test_nothing_is_held_back_but_what_may_be_the_hidden_event(name, cuts):
    hider, fed, got = Hider(), b"", b""
    for part in pieces(COMPLETIONS[name], cuts):
        fed += part
        got += hider.feed(part)
        line = fed[fed.rfind(b"\n") + 1 :]
        hidden = sum(len(event) + 2 for event in fed.split(b"\n\n") if b'"choices":[],"usage":{' in event)
        held = len(fed) - hidden - len(got)
        assert held <= len(line) + hidden
        if b'"choices":[{' in line:
            assert not hidden
            assert held == 0


def test_a_line_without_end_does_not_pile_up():
    hider = Hider()
    sent = sum(len(hider.feed(b"data: " + b"x" * 1000)) for _ in range(100))
    assert sent > 80_000


@pytest.mark.parametrize(
    ("event", "usage"),
    [
        (b'data: {"choices":[{"index":0}],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n', Usage(5, 6)),
        (b'data: {"choices":[],"usage":null}\n\n', None),
        (b'data: {"choices":[],"prompt_filter_results":[{"usage":{"prompt_tokens":5}}]}\n\n', None),
        (b'data: {"error":{"message":"usage"}}\n\n', None),
        (b'data: {"choices":[],"usage":{"prompt_tokens":5}\n\n', None),  # not JSON
        (b'{"choices":[],"usage":{"prompt_tokens":5}}\n\n', None),  # no data
    ],
)
@given(cuts=CUTS)
def test_other_events_are_shown(event, usage, cuts):
    hider = Hider()
    assert through(hider, pieces(CHUNK + event + DONE, cuts)) == CHUNK + event + DONE
    assert hider.usage == usage


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"id": "1", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}\n\n',
        b'data:{"usage":{"completion_tokens":6,"prompt_tokens":5,"prompt_tokens_details":{}},"choices":[ ]}\r\n\r\n',
    ],
)
@given(cuts=CUTS)
def test_the_hidden_event_may_be_written_in_other_ways(event, cuts):
    hider = Hider()
    assert through(hider, pieces(CHUNK + event + DONE, cuts)) == CHUNK + DONE
    assert hider.usage == Usage(5, 6)


@given(CUTS, st.booleans())
def test_a_stream_that_ends_within_the_hidden_event(cuts, whole):
    hider, begun = Hider(), USAGE.rstrip() if whole else USAGE[:60]
    assert through(hider, pieces(CHUNK + begun, cuts)) == (CHUNK if whole else CHUNK + begun)


@given(CUTS)
def test_running_counts_are_read_up_to_where_a_stream_broke(cuts):
    running = b"".join(CHUNK[:-3] + b',"usage":{"prompt_tokens":5,"completion_tokens":%d}}\n\n' % n for n in range(20))
    reader = Reader(lines=True)
    for part in pieces(running, cuts):
        reader.feed(part)
    assert reader.usage == Usage(5, 19)


@given(CUTS)
def test_what_a_message_tells_at_its_beginning_and_at_its_end_is_put_together(cuts):
    stream = (
        b'event: message_start\ndata: {"message":{"usage":{"input_tokens":25,"output_tokens":1}}}\n\n'
        b'event: message_delta\ndata: {"delta":{},"usage":{"output_tokens":15}}\n\n'
    )
    reader = Reader(lines=True)
    assert through(reader, pieces(stream, cuts)) == stream
    assert reader.usage == Usage(25, 15)


@given(CUTS, st.integers(0, 20_000), st.integers(0, 20_000), st.sampled_from([None, 2]))
def test_a_json_answer_in_pieces_tells_its_usage_wherever_it_stands(cuts, before, after, indent):
    answer = {"data": "x" * before, "usage": {"prompt_tokens": 7, "total_tokens": 7}, "results": ["y" * after]}
    body = json.dumps(answer, indent=indent).encode()
    reader = Reader(lines=False)
    assert through(reader, pieces(body, [*cuts, before, before + 20, before + 40])) == body
    assert reader.usage == Usage(7, 0)
