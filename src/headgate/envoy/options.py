"""How this service answers, where the protocol leaves it open."""

from collections.abc import Callable

from msgspec import Struct

from headgate.exchange.events import Respond


def as_it_is(response: Respond) -> Respond:
    return response


class Options(Struct, frozen=True):
    """`refusal` writes what clients are refused with. `destinations`: endpoints that are named, where the pool's picker
    names fewer. `scores`: the proxy is told the candidates' scores. `names_models`: servers are told the model and its
    base in headers. `names_routes`: the proxy is told the route and the backend, by which it finds what to do. `tests`: headers of the conformance suite are honoured.
    """

    refusal: Callable[[Respond], Respond] = as_it_is
    destinations: int = 1
    scores: bool = False
    names_models: bool = False
    names_routes: bool = False
    tests: bool = False
