"""The request that goes to the server: what of the client's headers is passed on, and what is set anew.

Sources: RFC 9110 §7.6.1 (hop-by-hop headers); Inference Extension, endpoint picker protocol (headers of the gateway).
"""

from headgate.exchange.events import Headers

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
        b"x-llm-d-inference-objective",
        b"x-gateway-inference-objective",
        b"x-llm-d-inference-fairness-id",
        b"x-gateway-inference-fairness-id",
        b"x-llm-d-slo-ttft-ms",
        b"x-slo-ttft-ms",
        b"x-llm-d-slo-tpot-ms",
        b"x-slo-tpot-ms",
        b"x-llm-d-inference-ttl",
    }
)

_SET_ANEW = frozenset(
    {b"content-length", b"expect", b"host", b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto"}
)

_DROPPED = HOP_BY_HOP | OURS | _READ_HERE | _SET_ANEW


def passed_on(headers: Headers, *, encoding: bool = True) -> Headers:
    """What of the client's headers goes on as it is. `encoding` false: the answer has to come uncompressed."""
    kept = [pair for pair in headers if pair[0] not in _DROPPED]
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            nominated = {item.strip().lower() for item in value.split(b",")}
            kept = [pair for pair in kept if pair[0] not in nominated]
    if not encoding:
        kept = [pair for pair in kept if pair[0] != b"accept-encoding"]
    return kept


def answer_headers(headers: Headers) -> tuple[Headers, int | None]:
    """A server's headers without framing and hop-by-hop ones, and its Content-Length where it has one."""
    length: int | None = None
    kept: Headers = []
    for pair in headers:
        name = pair[0]
        if name == b"content-length":
            length = int(pair[1])
        elif name not in HOP_BY_HOP and name not in OURS and name != b"x-request-id":
            kept.append(pair)
    return kept, length
