"""Chunks that pass by the parser: what the client gets does not depend on how the server's bytes were cut."""

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.exchange.answer import AnswerHead
from headgate.fleet.endpoint import Endpoint
from headgate.proxy.chunks import whole_chunk
from headgate.proxy.outbox import Outbox
from headgate.proxy.upstream import Upstream
from headgate.proxy.upstreams import Upstreams

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNKS = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=40) | st.just(b"5\r\nhello\r\n"), st.sampled_from(["%x", "%X", "00%x", "%x;a=b"])
    ),
    max_size=8,
)


class Heard:
    """An owner that writes down what it is told."""

    def __init__(self) -> None:
        self.body_bytes = b""
        self.status = 0
        self.end = ""

    def whole(self, answer: AnswerHead, body: bytes) -> None:
        self.answered(answer)
        self.body(body)
        self.ended()

    def answered(self, answer: AnswerHead) -> None:
        self.status = answer.status

    def body(self, data: bytes) -> None:
        self.body_bytes += data

    def chunk(self, data: bytes, framed: bytes, last: bool) -> None:
        start, end = whole_chunk(framed, 0)
        assert (framed[start:end], len(framed)) == (data, end + 2)
        self.body_bytes += data

    def ended(self) -> None:
        self.end = "ended"

    def flush(self) -> None: ...

    def failed(self, reason: str, detail: str) -> None:
        self.end = reason


class Wire(asyncio.Transport):
    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def hear(pieces: list[bytes]) -> tuple[int, bytes, str]:
    async def main() -> Heard:
        upstreams, owner = Upstreams(Outbox()), Heard()
        upstream = Upstream(upstreams, ("127.0.0.1", 1, ""))
        upstream.connection_made(Wire())
        upstreams.keep(upstream)
        upstreams.send(owner, Endpoint("e", "127.0.0.1", 1), b"GET / HTTP/1.1\r\n\r\n", b"", False, True)
        for piece in pieces:
            if not owner.end:
                upstream.data_received(piece)
        return owner

    heard = asyncio.run(main())
    return heard.status, heard.body_bytes, heard.end


@settings(max_examples=300, deadline=None)
@given(CHUNKS, st.lists(st.integers(0, 400), max_size=6), st.booleans())
def test_how_the_answer_was_cut_does_not_matter(chunks, cuts, at_chunks):
    framed = [(form % len(data)).encode() + b"\r\n" + data + b"\r\n" for data, form in chunks]
    answer = HEAD + b"".join(framed) + b"0\r\n\r\n"
    if at_chunks:  # as servers write it
        pieces = [HEAD, *framed, b"0\r\n\r\n"]
    else:
        places = sorted({min(cut, len(answer)) for cut in cuts} | {0, len(answer)})
        pieces = [answer[a:b] for a, b in pairwise(places)]
    assert hear(pieces) == (200, b"".join(data for data, _ in chunks), "ended")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"2\r\nab\r\n",
                b"3\r\nab\r\n",
                b"2\r\nabc\r\n",
                b"-1\r\n",
                b"0x2\r\nab\r\n",
                b"+2\r\nab\r\n",
                b"\r\n",
                b"2\nab\n",
                b"0\r\n\r\n",
            ]
        ),
        max_size=5,
    )
)
def test_a_wrong_chunk_is_as_wrong_between_right_ones(pieces):
    together = hear([HEAD + b"".join(pieces)])
    assert hear([HEAD, *pieces]) == together
    assert hear([HEAD, *[bytes([byte]) for byte in b"".join(pieces)]]) == together


def test_an_answer_with_a_length_has_no_chunks_even_if_it_looks_so():
    body = b"5\r\nhello\r\n" * 3
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    assert hear([head, body[:10], body[10:]]) == (200, body, "ended")
