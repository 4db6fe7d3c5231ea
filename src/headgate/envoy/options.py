"""How this service answers, where the protocol leaves it open."""

from collections.abc import Callable

from msgspec import Struct

from headgate.exchange.events import Respond


def as_it_is(response: Respond) -> Respond:
    return response


class Options(Struct, frozen=True):
    """`refusal` writes what clients are refused with. `destinations`: endpoints that are named, where the pool's picker
    names fewer. `scores`: the proxy is told the candidates' scores. `tests`: headers of the conformance suite are
    honoured. `own`: the proxy is one that we configure: it is told the route and the backend, and servers the model.
    """

    refusal: Callable[[Respond], Respond] = as_it_is
    destinations: int = 1
    scores: bool = False
    tests: bool = False
    own: bool = False
