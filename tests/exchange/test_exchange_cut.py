"""Streams that break off: whatever a client has of an event, it can read what follows, and learns that it was cut."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from headgate.exchange.cut import end_stream

TOLD = {"message": "it stopped", "type": "server_error", "param": None, "code": "endpoint_failed"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, min_size=1, max_size=5)


def end(sent: bytes, *, named: bool = False) -> bytes:
    return end_stream(sent, "it stopped", late=False, path="/v1/messages" if named else "/v1/chat/completions")


def events(stream: bytes):
    return list(SSEDecoder().iter_bytes(iter([stream])))


def unfinished(stream: bytes) -> bytes:
    return stream[stream.rfind(b"\n\n") + 2 :] if b"\n\n" in stream else stream


@given(OBJECTS, st.booleans(), st.floats(0, 1))
@example({"a": "\ud83d\ude00é\\"}, True, 0.5)
def test_half_an_object_becomes_the_error(value, escaped, cut):
    try:
        text = json.dumps(value, ensure_ascii=escaped).encode()
    except UnicodeEncodeError:
        text = json.dumps(value).encode()
    sent = b"data: " + text[: int(cut * (len(text) - 1))]
    (event,) = events(sent + end(sent))
    assert json.loads(event.data)["error"] == TOLD


@given(OBJECTS, st.data())
def test_a_client_of_a_stream_that_is_cut_anywhere_gets_what_was_whole_and_then_the_error(value, data):
    chunk = b"data: %b\n\n" % json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    stream = chunk * 3 + b"data: [DONE]\n\n"
    sent = stream[: data.draw(st.integers(0, len(stream) - 2))]
    got = events(sent + end(unfinished(sent)))
    whole = sent.count(b"\n\n")
    assert [event.data for event in got[:whole]] == [event.data for event in events(chunk * whole)]
    if sent.endswith((chunk[:-2], chunk[:-1])):
        whole += 1  # all that it lacked was its end
    if got[-1].data == "[DONE]":
        assert sent.startswith(chunk * 3 + b"data: ["), "all of the answer was there"
    else:
        assert json.loads(got[-1].data)["error"] == TOLD
        assert len(got) == whole + 1


MESSAGES = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"Hi"}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


@given(st.integers(0, len(MESSAGES) - 2))
def test_where_events_have_names_the_error_is_called_error(cut):
    sent = MESSAGES[:cut]
    got = events(sent + end(unfinished(sent), named=True))
    assert got[-1].event == "error"
    assert (json.loads(got[-1].data)["type"], json.loads(got[-1].data)["error"]) == ("error", TOLD)
    for event in got[:-1]:
        assert event.event == json.loads(event.data)["type"], "what came before is whole"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"d",
        b"data",
        b"data:",
        b"data: ",
        b": a comment",
        b": a comment\n",
        b"id: 1",
        b"id: 1\n",
        b"event: mess",
        b"event: message\n",
        b"event: message\r\n",
        b"event: message\r\ndata: {",
        b'data:{"a":1',
        b'data: {"a":{"b":[1,',
        b'data: {"a":',
        b'data: {"a',
        b'data: {"a":1,',
        b'data: {"a":-',
        b'data: {"a":1.',
        b'data: {"a":1e+',
        b'data: {"a":tr',
        b'data: {"a":"\\',
        b'data: {"a":"\\\\\\u12',
        b'data: {"a":"\xf0\x9f',
        b'data: {"a":"\xe0',
        b'data: {"a":"\xf4\x8f\xbf',
    ],
)
def test_whatever_line_was_begun_the_client_reads_one_event_and_that_is_the_error(sent):
    (event,) = events(sent + end(sent))
    assert json.loads(event.data)["error"] == TOLD


@pytest.mark.parametrize(
    "sent",
    [b"data: nonsense", b"data: {]", b"data: 1\ndata: {", b'data: {"a":1}', b"data: [1", b"data: 1\r", b"data: 1\r\n"],
)
def test_what_can_not_become_the_error_is_followed_by_it(sent):
    got = events(sent + end(sent))
    assert len(got) == 2
    assert json.loads(got[1].data)["error"] == TOLD


@pytest.mark.parametrize("mark", [b"data: [DONE]\n", b"data: [DONE]\r\n"])
@pytest.mark.parametrize("cut", range(7, 15))
def test_an_answer_that_lacks_nothing_but_its_last_mark_is_no_error(mark, cut):
    sent = mark[:cut]
    (event,) = events(sent + end(sent))
    assert event.data == "[DONE]"


@given(
    st.sampled_from([b"", b"data: ", b"data: {", b'data: {"']),
    st.binary(max_size=40) | st.text('{}[]":,\\ut1e.-\n').map(str.encode),
)
def test_whatever_was_sent_there_is_an_end(begun, more):
    sent = begun + more
    assert end(sent).endswith(b"\n\n") or sent.endswith(b"[DONE]\n")
