"""The request's head: what it tells the gateway, what is passed on to the server, and what is set anew.

Sources: RFC 9110 §7.6.1 (hop-by-hop headers); Inference Extension, endpoint picker protocol (headers of the gateway).
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from headgate.exchange.events import Headers, Respond
from headgate.exchange.refuse import refuse
from headgate.exchange.target import Target, read_target
from headgate.exchange.wishes import NAMES as WISHES
from headgate.exchange.wishes import Wishes, read_wishes

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# Ours to set: what a client sends under these names is dropped.
OURS = frozenset(
    {
        b"x-gateway-model-name",
        b"x-gateway-base-model-name",
        b"x-gateway-destination-endpoint",
        b"x-gateway-destination-endpoint-subset",
        b"x-gateway-destination-endpoint-served",
        b"x-gateway-destination-endpoint-scores",
        b"x-gateway-model-name-rewrite",
        b"x-llm-d-model-name-rewrite",
        b"x-llm-d-request-dropped-reason",
        b"x-prefiller-host-port",
        b"x-encoder-hosts-ports",
        b"x-data-parallel-host-port",
        b"x-kv-cache-source-host-port",
    }
)

# Meant for the gateway, of no use to a server.
_READ_HERE = frozenset({b"x-llm-d-slo-tpot-ms", b"x-slo-tpot-ms"})

_SET_ANEW = frozenset({b"content-length", b"expect", b"x-forwarded-host", b"x-forwarded-proto"})

_FOR_ALL = frozenset({b"content-type", b"content-encoding"})  # whoever reads the body has to know them

_LONGEST_ID = 128

# One look-up for each header says what is to be done with it; a header that is not here is passed on.
_DROP, _READ, _READ_AND_KEEP = range(3)
_USES: dict[bytes, int] = {
    **dict.fromkeys(HOP_BY_HOP | OURS | _READ_HERE | _SET_ANEW, _DROP),
    b"host": _READ,
    b"connection": _READ,
    b"te": _READ,
    b"content-type": _READ_AND_KEEP,
    b"content-encoding": _READ_AND_KEEP,
    b"x-request-id": _READ,
    b"forwarded": _READ,
    b"x-forwarded-for": _READ,
    b"x-llm-d-inference-objective": _READ,
    b"x-gateway-inference-objective": _READ,
    **dict.fromkeys(WISHES, _READ),
}

SPECIAL = frozenset(_USES)  # names that mean something here

_ALLOWED = [(b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")]
_NOT_ALLOWED = {
    b"CONNECT": "CONNECT is not allowed: this gateway is no forward proxy.",
    b"TRACE": "TRACE is not allowed.",
}


class RequestHead(Struct, frozen=True, eq=False, gc=False):
    """A request's head, read: all of it that follows from its bytes alone, so that equal heads need one reading.

    `kept` are the headers that are passed on; `lines` is the same as it goes over the wire, but for `compressions`,
    which say how the answer may be compressed. `refusal` answers what is no request that anybody could serve.
    """

    method: bytes
    raw: bytes  # the target as in the request line: path and query
    headers: Headers  # as they came, for routes to match on; how long the body is, is not for them to know
    http10: bool  # it came as HTTP/1.0, and may lack a Host header
    target: Target
    host: bytes
    kept: Headers
    lines: bytes
    compressions: bytes
    kind: bytes  # the Content-Type
    encoding: str  # the body's Content-Encoding, "" where it is as it is
    forwarded: bytes  # as the client sent it; b"" where it did not
    forwarded_for: bytes  # the same of X-Forwarded-For, with a comma behind it
    id: bytes  # b"" where the client sent none
    objective: str
    refusal: Respond | None = None
    switches: bool = False  # it asks to go on as a WebSocket, RFC 6455
    wishes: Wishes | None = None  # where it says anything about queueing

    def told(self, name: bytes) -> bytes:
        """A header that few requests are asked for, b"" where it did not come; one that came twice is one list."""
        return b", ".join([value for key, value in self.headers if key == name])


def read_request(
    method: bytes, raw: bytes, headers: Headers, *, http10: bool = False, switches: bool = False
) -> RequestHead:
    kept: Headers = []
    told: dict[bytes, bytes] = {}
    for pair in headers:
        name = pair[0]
        use = _USES.get(name)
        if use is None:
            # To servers whose ways are those of CGI an underscore is a dash: a second name for what is ours to say.
            if b"_" not in name or name.replace(b"_", b"-") not in _USES:
                kept.append(pair)
        elif use:
            if use == _READ_AND_KEEP:
                kept.append(pair)
            told[name] = pair[1] if name not in told else b"%b, %b" % (told[name], pair[1])
    kept = without_nominated(kept, told)
    if b"te" in told and b"trailers" in [coding.strip() for coding in told[b"te"].lower().split(b",")]:
        kept.append((b"te", b"trailers"))  # the gateway passes them on, whoever asks for them
    target, host, own = read_target(raw), told.get(b"host"), told.get(b"x-request-id", b"")
    forwarded_for = told.get(b"x-forwarded-for")
    objective = told.get(b"x-llm-d-inference-objective") or told.get(b"x-gateway-inference-objective", b"")
    encoding = told.get(b"content-encoding", b"").decode("latin-1").strip()
    return RequestHead(
        method,
        raw,
        [pair for pair in headers if pair[0] != b"content-length"],
        http10,
        target,
        host or b"",
        kept,
        wire(pair for pair in kept if pair[0] != b"accept-encoding"),
        wire(pair for pair in kept if pair[0] == b"accept-encoding"),
        told.get(b"content-type", b""),
        "" if encoding.lower() == "identity" else encoding,
        told.get(b"forwarded", b""),
        b"" if forwarded_for is None else forwarded_for + b", ",
        own if len(own) <= _LONGEST_ID else b"",
        objective.decode("latin-1"),
        _refusal(method, target, host, http10=http10),
        switches,
        read_wishes(told),
    )


def wire(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header lines, each with its end."""
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])


def without_nominated(kept: Headers, told: Mapping[bytes, bytes]) -> Headers:
    """Without the headers that the header Connection names, RFC 9110 §7.6.1."""
    connection = told.get(b"connection")
    if connection is None or connection in (b"keep-alive", b"close", b"Keep-Alive"):
        return kept
    names = {name.strip() for name in connection.lower().split(b",")} - _FOR_ALL
    return [pair for pair in kept if pair[0] not in names]


def _refusal(method: bytes, target: Target, host: bytes | None, *, http10: bool) -> Respond | None:
    if method in _NOT_ALLOWED:
        return refuse(405, _NOT_ALLOWED[method], code="method_not_allowed", headers=_ALLOWED, close=True)
    if host is None and not http10:
        return refuse(400, "A request must have a Host header, from HTTP/1.1 on.", close=True)
    if host is not None and b", " in host:
        return refuse(400, "A request must have one Host header; this one has several.", close=True)
    if target.error:
        return refuse(400, target.error)
    if target.asterisk:
        if method == b"OPTIONS":  # asks about the gateway as a whole, RFC 9110 §9.3.7
            return Respond(204, _ALLOWED, b"")
        return refuse(400, "The request target * is for OPTIONS alone.")
    return None
