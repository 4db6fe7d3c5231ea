"""A profile is how a pool chooses: which filters, which scorers, and what each scorer weighs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import force_setattr

from headgate.fleet.latency import Foresight
from headgate.pick.detector import Detector
from headgate.pick.draws import Draw
from headgate.pick.filters import FILTERS, Sieve
from headgate.pick.scorers import SCORERS, STEADY_SCORERS, Scorer
from headgate.pick.slo import Narrow
from headgate.pick.spread import calm_queue, held_prefix
from headgate.pick.wants import Wants

if TYPE_CHECKING:
    from headgate.pick.admit import Admit
    from headgate.pick.handler import ByHeader
    from headgate.pick.stages import Stages

_ALL_FILTERS = tuple(FILTERS)


class Profile(Struct, frozen=True):
    """Names from FILTERS and SCORERS; the filters run in this order, then the `sieves`. Weights are ≥ 0.

    `made` are scorers of this profile's own, by name, and whether their scores hold until loads or endpoints change:
    those with parameters. `draw` takes the place of choosing the best. `admitters` say, in this order and each with its
    name, whether a request may be sent at all. `wants` is what its plugins want done beside the choice, None for
    nothing. `apart`: what there is to choose from depends on more than the model. `handler` chooses another profile in
    place of this one, or beside it. `destinations`: endpoints that another proxy is told of, the best first.

    With `foresight` it predicts latencies. Only then there are `narrows`, filters that see all candidates side by side
    and what is predicted of them, each with its name, which run behind the others.
    """

    name: str
    scorers: tuple[tuple[str, float], ...]
    filters: tuple[str, ...] = _ALL_FILTERS
    sieves: tuple[Sieve, ...] = ()
    made: Mapping[str, tuple[Scorer, bool]] = {}
    draw: Draw | None = None
    detector: Detector = Detector()
    admitters: tuple[tuple[str, "Admit"], ...] = ()
    wants: Wants | None = None
    apart: bool = False
    handler: "ByHeader | Stages | None" = None
    destinations: int = 1
    foresight: Foresight | None = None
    narrows: tuple[tuple[str, Narrow], ...] = ()

    def __post_init__(self) -> None:
        if not all(sieve.steady for sieve in self.sieves):
            force_setattr(self, "apart", True)

    def sifts(self, name: str) -> bool:
        """Whether it is one of the sieves that is called so, also of the other profiles of its set."""
        if any(sieve.name == name for sieve in self.sieves):
            return True
        return self.handler is not None and any(one.sifts(name) for one in self.handler.profiles.values())

    def scorer(self, name: str) -> tuple[Scorer, bool]:
        """The scorer of this name, and whether its scores are steady."""
        return self.made.get(name) or (SCORERS[name], name in STEADY_SCORERS)


# 2, 2, 3 are what the field's pickers use when nothing is configured. They leave adapters out. With 4 an endpoint that
# has the adapter (1.0) is left for one with a free slot (0.8) only where that is 40 % less deep in queue or KV usage,
# and one whose slots are all taken (0) is hardly anybody's choice: loading an adapter takes a second in which all wait,
# evicting one takes it from somebody else (docs/decisions/0016).
DEFAULT = Profile(
    "default",
    (
        ("queue-scorer", 2.0),
        ("kv-cache-utilization-scorer", 2.0),
        ("prefix-cache-scorer", 3.0),
        ("lora-affinity-scorer", 4.0),
    ),
    made={"queue-scorer": (calm_queue, False), "prefix-cache-scorer": (held_prefix, False)},
)

# What is behind a Service need not be a model server: the fewest of our own requests in flight.
SERVICE = Profile("service", (("active-request-scorer", 1.0),))
