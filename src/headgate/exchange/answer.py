"""The answer's headers: what is passed on to the client, and what they tell the gateway."""

from msgspec import Struct

from headgate.exchange.events import Headers
from headgate.exchange.request import HOP_BY_HOP, OURS, wire, without_nominated

_NOT_PASSED_ON = HOP_BY_HOP | OURS | {b"x-request-id", b"content-length"}
_ENGINE_DIED = b"EngineCore encountered an issue"


class AnswerHead(Struct, frozen=True, eq=False, gc=False):
    """An answer's status and headers, read: all that follows from its bytes alone.

    `headers` has neither framing nor hop-by-hop ones; `lines` is the same as it goes over the wire.
    """

    status: int
    headers: Headers
    lines: bytes
    length: int | None  # the Content-Length, None where there is none
    streamed: bool  # an event stream
    readable: bool  # its body is of a kind that may name the model and tell of usage


def read_answer(status: int, headers: Headers) -> AnswerHead:
    length: int | None = None
    kind = coding = b""
    told: dict[bytes, bytes] = {}
    kept: Headers = []
    announced: Headers = []
    for pair in headers:
        name = pair[0]
        if name not in _NOT_PASSED_ON:
            kept.append(pair)
            if name == b"content-type":
                kind = pair[1]
            elif name == b"content-encoding":
                coding = pair[1]
        elif name == b"content-length":
            length = int(pair[1])
        elif name == b"trailer":
            announced.append(pair)
        elif name == b"connection":
            told[name] = pair[1] if name not in told else b"%b, %b" % (told[name], pair[1])
    kept = without_nominated(kept, told)
    if length is None:  # else it is not in chunks, and has none
        kept += announced
    streamed = kind.startswith(b"text/event-stream")
    readable = (streamed or b"json" in kind) and coding.lower() in (b"", b"identity")
    return AnswerHead(status, kept, wire(kept), length, streamed, readable)


def engine_died(status: int, body: bytes) -> bool:
    """Whether a vLLM server says that its engine is no more: it will not serve again, and another one can be asked.

    With 500, or in the first event of a stream, which it has begun with 200 (vllm.v1.engine.exceptions).
    """
    says_no = status == 500 or (status == 200 and body.startswith(b'data: {"error"'))
    return says_no and _ENGINE_DIED in body
