"""How long will it take there?  What the answers of a pool's endpoints have taught, and what is still under way."""

from bisect import insort

from msgspec import Struct

from headgate.fleet.regression import Regression

# What is usual of each, in the order of the features: of TTFT (see `Latency`), and of TPOT.
_TTFT = (1.0, 1000.0, 1000.0, 50.0, 10.0, 10.0, 1.0)
_TPOT = (1.0, 50.0, 1.0, 1000.0)
_TTFT_FLOOR_S = 0.005
_TPOT_FLOOR_S = 0.001
ENOUGH = 100  # observations, before a prediction counts
SURE = 0.4  # the mean relative error up to which it does


class Foresight(Struct, frozen=True):
    """How a profile uses predictions (predicted-latency-producer).

    `buffer` times the TPOT that is asked for is what predictions must keep (sloBufferFactor). `whole`: TTFT is the time
    of whole answers, and there is no TPOT (streamingMode: false). `used` False: it learns, and that is all
    (predictInProduce: false).
    """

    buffer: float = 1.0
    whole: bool = False
    used: bool = True


class Latency:
    """Of one pool. Mutable, owned by the edge; in each process that serves, its own.

    TTFT is learned from: 1, the prompt's tokens that are not in the KV cache there, those of our other requests there
    that wait for their first token, running requests, waiting ones, waiting ones where the KV cache is full, and
    whether the adapter has to be loaded or waits for a slot. TPOT from: 1, requests there, KV cache usage, tokens that
    wait to be prefilled. `pick.foresee` says how each is come by.

    `ahead` has the tokens that wait, by endpoint name, `bounds` the TPOT that requests under way were promised, the
    strictest first. Both have entries only for what is under way.
    """

    __slots__ = ("ahead", "bounds", "tpot", "ttft")

    def __init__(self) -> None:
        self.ttft = Regression(_TTFT, _TTFT_FLOOR_S)
        self.tpot = Regression(_TPOT, _TPOT_FLOOR_S)
        self.ahead: dict[str, float] = {}
        self.bounds: dict[str, list[float]] = {}

    def take(self, endpoint: str, tokens: float, tpot_s: float) -> None:
        """A request was sent there, with so many tokens to prefill; `tpot_s` 0 where it asks for none."""
        self.ahead[endpoint] = self.ahead.get(endpoint, 0.0) + tokens
        if tpot_s:
            insort(self.bounds.setdefault(endpoint, []), tpot_s)

    def prefilled(self, endpoint: str, tokens: float) -> None:
        """Its first token is here, or it ended without one."""
        left = self.ahead.get(endpoint, 0.0) - tokens
        if left > 0.5:  # sums of floats: less than a token is nothing
            self.ahead[endpoint] = left
        else:
            self.ahead.pop(endpoint, None)

    def give(self, endpoint: str, tpot_s: float) -> None:
        """It is over."""
        bounds = self.bounds.get(endpoint)
        if tpot_s and bounds and tpot_s in bounds:
            bounds.remove(tpot_s)
            if not bounds:
                del self.bounds[endpoint]


def sure(one: Regression) -> bool:
    """Whether its predictions may count."""
    return one.observations >= ENOUGH and one.error <= SURE
