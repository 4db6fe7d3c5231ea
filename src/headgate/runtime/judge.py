"""Who is told how endpoints do, and who ejects them for it."""

from collections.abc import Callable, Collection, Mapping

from headgate.fleet.outliers import Ejection, EjectionRule, Outliers


class Judge:
    """Mutable. `failing` are endpoints of which a success is to be told, too.

    `judged(endpoint, ejection)` hears of each ejection, and, with None, of each endpoint that serves after one.
    """

    def __init__(
        self, rule: EjectionRule, judged: Callable[[str, Ejection | None], None], clock: Callable[[], float]
    ) -> None:
        self._outliers = Outliers(rule)
        self._judged = judged
        self._clock = clock
        self.failing: Collection[str] = self._outliers.failing  # always current

    def failed(self, endpoint: str, why: str, *, probe: bool = False) -> None:
        """It gave no answer, or none that is any good; with `probe`, to a question of our own."""
        ejection = self._outliers.failed(endpoint, why, self._clock(), probe=probe)
        if ejection is not None:
            self._judged(endpoint, ejection)

    def passed(self, endpoint: str) -> None:
        if self._outliers.passed(endpoint, self._clock()):
            self._judged(endpoint, None)

    def ejected(self) -> Mapping[str, Ejection]:
        """Those that are ejected now, by endpoint."""
        return self._outliers.ejected(self._clock())

    def forget(self, endpoint: str) -> None:
        """What it failed at was before."""
        self._outliers.forget(endpoint)
