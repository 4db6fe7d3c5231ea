"""The request's headers: what they tell the gateway, what is passed on to the server, and what is set anew.

Sources: RFC 9110 §7.6.1 (hop-by-hop headers); Inference Extension, endpoint picker protocol (headers of the gateway).
"""

from collections.abc import Mapping

from msgspec import Struct

from headgate.exchange.events import Asked, Headers, Respond
from headgate.exchange.refuse import refuse
from headgate.exchange.target import Target, read_target

HOP_BY_HOP = frozenset(
    {
        b"connection",
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
_READ_HERE = frozenset(
    {
        b"x-llm-d-inference-fairness-id",
        b"x-gateway-inference-fairness-id",
        b"x-llm-d-slo-ttft-ms",
        b"x-slo-ttft-ms",
        b"x-llm-d-slo-tpot-ms",
        b"x-slo-tpot-ms",
        b"x-llm-d-inference-ttl",
    }
)

_SET_ANEW = frozenset({b"content-length", b"expect", b"x-forwarded-proto"})

_LONGEST_ID = 128

# One look-up for each header says what is to be done with it; a header that is not here is passed on.
_DROP, _READ, _READ_AND_KEEP = range(3)
_USES: dict[bytes, int] = {
    **dict.fromkeys(HOP_BY_HOP | OURS | _READ_HERE | _SET_ANEW, _DROP),
    b"host": _READ,
    b"connection": _READ,
    b"content-type": _READ_AND_KEEP,
    b"content-encoding": _READ_AND_KEEP,
    b"x-request-id": _READ,
    b"x-forwarded-for": _READ,
    b"x-llm-d-inference-objective": _READ,
    b"x-gateway-inference-objective": _READ,
}

_ALLOWED = [(b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")]
_NOT_ALLOWED = {
    b"CONNECT": "CONNECT is not allowed: this gateway is no forward proxy.",
    b"TRACE": "TRACE is not allowed.",
}


class Request(Struct, frozen=True, gc=False):
    """`kept` is what is passed on; `told` is what the gateway reads, of which a header that came twice is one list.

    `refusal` answers what is no request that anybody could serve.
    """

    target: Target
    kept: Headers
    told: Mapping[bytes, bytes]
    id: bytes
    refusal: Respond | None = None

    @property
    def objective(self) -> str:
        told = self.told
        value = told.get(b"x-llm-d-inference-objective") or told.get(b"x-gateway-inference-objective", b"")
        return value.decode("latin-1")

    @property
    def encoding(self) -> str:
        """The body's Content-Encoding, "" where it is as it is."""
        value = self.told.get(b"content-encoding", b"").decode("latin-1").strip()
        return "" if value.lower() == "identity" else value


def read_request(event: Asked) -> Request:
    kept: Headers = []
    keep = kept.append
    told: dict[bytes, bytes] = {}
    for pair in event.headers:
        name = pair[0]
        use = _USES.get(name)
        if use is None:
            keep(pair)
        elif use:
            if use == _READ_AND_KEEP:
                keep(pair)
            told[name] = pair[1] if name not in told else b"%b, %b" % (told[name], pair[1])
    kept = _without_nominated(kept, told)
    own = told.get(b"x-request-id", b"")
    target = read_target(event.target)
    refusal = None
    if target.error or target.asterisk or b"host" not in told or b", " in told[b"host"] or event.method in _NOT_ALLOWED:
        refusal = _refusal(event, target, told.get(b"host"))
    return Request(target, kept, told, own if 0 < len(own) <= _LONGEST_ID else event.id, refusal)


def _without_nominated(kept: Headers, told: Mapping[bytes, bytes]) -> Headers:
    """Without the headers that the header Connection names."""
    connection = told.get(b"connection")
    if connection is None or connection in (b"keep-alive", b"close", b"Keep-Alive"):
        return kept
    names = {name.strip() for name in connection.lower().split(b",")}
    return [pair for pair in kept if pair[0] not in names]


def _refusal(event: Asked, target: Target, host: bytes | None) -> Respond | None:
    if event.method in _NOT_ALLOWED:
        return refuse(405, _NOT_ALLOWED[event.method], code="method_not_allowed", headers=_ALLOWED, close=True)
    if host is None and not event.http10:
        return refuse(400, "A request must have a Host header, from HTTP/1.1 on.", close=True)
    if host is not None and b", " in host:
        return refuse(400, "A request must have one Host header; this one has several.", close=True)
    if target.error:
        return refuse(400, target.error)
    if target.asterisk:
        if event.method == b"OPTIONS":  # asks about the gateway as a whole, RFC 9110 §9.3.7
            return Respond(204, _ALLOWED, b"")
        return refuse(400, "The request target * is for OPTIONS alone.")
    return None


def answer_headers(headers: Headers) -> tuple[Headers, int | None, bytes]:
    """A server's headers without framing and hop-by-hop ones, its Content-Length if it has one, its Content-Type."""
    length: int | None = None
    kind = b""
    told: dict[bytes, bytes] = {}
    kept: Headers = []
    for pair in headers:
        name = pair[0]
        if name == b"content-length":
            length = int(pair[1])
        elif name not in _NOT_FROM_SERVERS:
            kept.append(pair)
            if name == b"content-type":
                kind = pair[1]
        elif name == b"connection":
            told[name] = pair[1] if name not in told else b"%b, %b" % (told[name], pair[1])
    return _without_nominated(kept, told), length, kind


_NOT_FROM_SERVERS = HOP_BY_HOP | OURS | {b"x-request-id"}
