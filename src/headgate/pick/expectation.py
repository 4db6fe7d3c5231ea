"""What was expected of a request, and what came of it."""

from msgspec import Struct

from headgate.fleet.latency import Foresight, Latency, sure
from headgate.pick.decision import Ask, Decision

_FEW = 8  # tokens: of fewer the mean time is mostly chance


class Expectation(Struct, eq=False):
    """Of one request at the endpoint that it was sent to: what was predicted, what was asked for, and what it took.

    Seconds, 0.0 where there is none. It learns once, from what came: tell it in the order of its methods.
    """

    latency: Latency
    rule: Foresight
    endpoint: str
    sure: bool
    ttft: float
    tpot: float
    ttft_slo: float
    tpot_slo: float
    columns: tuple[float, ...]  # of this endpoint, as Forecast's inputs
    seen_ttft: float = 0.0
    seen_tpot: float = 0.0
    prefilling: bool = True
    under_way: bool = True

    def began(self, seconds: float) -> None:
        """The first token of a stream came so long after the request was sent."""
        self._prefilled()
        if not self.rule.whole:
            self._learn_ttft(seconds)

    def ended(self, seconds: float, since_first: float, tokens: int | None, *, streamed: bool) -> None:
        """The answer is whole, so long after it was sent; of a stream, so long after its first token.

        A whole answer tells of TTFT what is left when its further tokens' time is taken off, as predicted: where that
        is known, and not the larger part.
        """
        self.drop()
        if self.rule.whole:
            self._learn_ttft(seconds)
        elif streamed:
            if tokens is not None and tokens >= _FEW and since_first > 0.0:
                self.seen_tpot = since_first / (tokens - 1)
                self.latency.tpot.learn(self._tpot_row(), self.seen_tpot)
        elif tokens is not None and sure(self.latency.tpot):
            further = self.latency.tpot.predict(self._tpot_row()) * max(0, tokens - 1)
            if further < seconds / 2:
                self._learn_ttft(seconds - further)

    def drop(self) -> None:
        """It is over, or asked for elsewhere. Of one that failed nothing is learned."""
        self._prefilled()
        if self.under_way:
            self.under_way = False
            self.latency.give(self.endpoint, self.tpot_slo)

    def _prefilled(self) -> None:
        if self.prefilling:
            self.prefilling = False
            self.latency.prefilled(self.endpoint, self.columns[0])

    def _learn_ttft(self, seconds: float) -> None:
        self.seen_ttft = seconds
        left, ahead, running, waiting, full, cold, _ = self.columns
        self.latency.ttft.learn((1.0, left, ahead, running, waiting, waiting * full, cold), seconds)

    def _tpot_row(self) -> tuple[float, ...]:
        _, ahead, running, waiting, _, _, usage = self.columns
        return 1.0, running + waiting, usage, ahead


def expect(decision: Decision, ask: Ask) -> Expectation | None:
    """The request goes where the decision says: from here on what it waits for is in others' way.

    None where nothing was predicted.
    """
    forecast, endpoint = decision.forecast, decision.endpoint
    if forecast is None or endpoint is None:
        return None
    place = decision.candidates.index(endpoint)
    columns = tuple([column[place] for column in forecast.inputs])
    forecast.latency.take(endpoint.name, columns[0], ask.tpot_slo)
    tpot = forecast.tpot[place] if forecast.tpot else 0.0
    return Expectation(
        forecast.latency,
        forecast.rule,
        endpoint.name,
        forecast.sure,
        forecast.ttft[place],
        tpot,
        ask.ttft_slo,
        ask.tpot_slo,
        columns,
    )
