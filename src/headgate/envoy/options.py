"""How this service answers, where the protocol leaves it open."""

from collections.abc import Callable

from msgspec import Struct

from headgate.exchange.events import Respond


def as_it_is(response: Respond) -> Respond:
    return response


class Options(Struct, frozen=True):
    """`subsets`: the proxy's word on which endpoints it can reach counts. `refusal` writes what clients are refused
    with. `destinations`: endpoints that are named, where the pool's picker names fewer. `scores`: the proxy is told the
    candidates' scores. `tests`: headers of the conformance suite are honoured. `own`: the proxy is
    one that we configure: it is told the route and the backend, and servers the model. `decided` hears how long a
    choice took, in seconds, `ended` how a call ended (gRPC's status) and how long it took.
    """

    refusal: Callable[[Respond], Respond] = as_it_is
    destinations: int = 1
    scores: bool = False
    subsets: bool = True
    tests: bool = False
    own: bool = False
    decided: Callable[[float], None] | None = None
    ended: Callable[[int, float], None] | None = None
