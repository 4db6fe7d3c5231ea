"""What the proxy and the picker tell each other beside the headers, by the Endpoint Picker Protocol (v1.0.0).

`SUBSET` and `SERVED` come from the proxy, `DESTINATION` goes to it, as a header and as metadata, with the same value.
"""

from collections.abc import Iterable, Sequence

from headgate.exchange.events import Headers
from headgate.exchange.exchange import Exchange
from headgate.exchange.site import Site
from headgate.fleet.endpoint import Endpoint
from headgate.pick.decision import Decision

NAMESPACE = "envoy.lb"
SUBSET_NAMESPACE = "envoy.lb.subset_hint"
DESTINATION = "x-gateway-destination-endpoint"
SUBSET = "x-gateway-destination-endpoint-subset"
SERVED = "x-gateway-destination-endpoint-served"
SITE = "x-headgate-site"  # gRPC metadata of a stream: which of several sites it is for
ROUTE = "x-headgate-route"  # of our own Envoy's configuration
_ROUTE = ROUTE.encode()
SCORES = "x-gateway-destination-endpoint-scores"

# Of the conformance suite's light picker (lwepp).
TEST_SELECTION = b"test-epp-endpoint-selection"
TEST_SERVED = b"x-conformance-test-served-endpoint"
WENT_THROUGH = (b"x-went-into-resp-headers", b"true")


def subset(value: object) -> frozenset[str]:
    """The endpoints that a proxy can reach: a list, or a text with commas; of those the ones that are texts."""
    parts: Iterable[object] = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ()
    return frozenset(text for part in parts if isinstance(part, str) and (text := part.strip()))


def selection(headers: Headers) -> frozenset[str] | None:
    """Those that a test asks for, None where it does not."""
    asked = [value.decode("latin-1") for name, value in headers if name == TEST_SELECTION]
    return subset(",".join(asked)) if asked else None


def route_key(route: str, backend: int) -> str:
    return f"{route}#{backend}"


def told_to_our_own(site: Site, exchange: Exchange) -> Headers:
    """Which of a route's backends has been chosen; and for the servers, of which model the client has spoken."""
    way, model = exchange.job.way, exchange.record.model
    headers = [(_ROUTE, route_key(way.route.name, way.route.backends.index(way.backend)).encode())]
    if model:
        headers.append((b"x-gateway-model-name", model.encode()))
        headers.append((b"x-gateway-base-model-name", site.base_models.get(model, "").encode()))
    return headers


def destination(decision: Decision, count: int) -> str:
    """`ip:port`, and of the next best as many as make it `count`, in order, with commas."""
    endpoint = decision.endpoint
    assert endpoint is not None
    if count <= 1:
        return endpoint.hostport
    return ",".join([endpoint.hostport, *(other.hostport for other in decision.next_best(count - 1))])


def scores(decision: Decision) -> str:
    """Each candidate's total, `ip:port=total`, with commas, in the order of the candidates."""
    pairs: Sequence[tuple[Endpoint, float]] = list(zip(decision.candidates, decision.totals, strict=False))
    return ",".join([f"{endpoint.hostport}={total:.4g}" for endpoint, total in pairs])
