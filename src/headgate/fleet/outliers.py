"""Which endpoints fail again and again?  They get no requests for a while: passive outlier detection.

The words and the defaults are those of the field (Envoy's outlier detection): failures in a row, an ejection that
lasts longer each time, and a share of a pool that is never exceeded.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

FAILED = frozenset({500, 502, 503, 504})  # answers that count as a failure of the endpoint


class EjectionRule(Struct, frozen=True):
    """`failures` in a row eject, 0 never does. The first ejection lasts `first_s`, each further one twice as long."""

    failures: int = 5
    first_s: float = 10.0
    longest_s: float = 300.0


class Ejection(Struct, frozen=True):
    """From `at` until `until` the endpoint gets no requests. `number` counts those without health in between."""

    endpoint: str
    at: float
    until: float
    number: int
    why: str  # its last failure, in words


class _Case(Struct):
    row: int = 0  # failures since the last success, or since the last ejection
    suspect: bool = False  # it was ejected, and has not served since
    ejection: Ejection | None = None  # the last one


class Outliers:
    """Mutable, one for all pools, owned by the edge. `failing` has an entry for each endpoint that is not just fine.

    Where it is empty, a success need not be told. After an ejection one failure is enough for the next, until the
    endpoint has served. How long ejections last is forgotten once it has been fine as long as the last one took.
    """

    __slots__ = ("_rule", "failing")

    def __init__(self, rule: EjectionRule | None = None) -> None:
        self._rule = rule or EjectionRule()
        self.failing: dict[str, _Case] = {}

    def failed(self, endpoint: str, why: str, now: float, *, probe: bool = False) -> Ejection | None:
        """A request found no connection there, no whole answer, or one of FAILED. An Ejection where that is enough.

        What still fails while the endpoint is ejected, having been sent there before, counts for nothing; but with
        `probe` it was asked just now, and stays out.
        """
        rule = self._rule
        if not rule.failures:
            return None
        case = self.failing.setdefault(endpoint, _Case())
        before = case.ejection
        if before is not None and now < before.until:
            if probe:
                case.ejection = replace(before, until=max(before.until, now + rule.first_s / 2))
            return None
        case.row += 1
        if case.row < rule.failures and not case.suspect:
            return None
        number = before.number + 1 if before is not None and not self._is_over(before, now) else 1
        case.ejection = Ejection(endpoint, now, now + self._lasts(number), number, why)
        case.row, case.suspect = 0, True
        return case.ejection

    def passed(self, endpoint: str, now: float) -> bool:
        """A request was answered there. Whether that ends an ejection, or the doubt after one."""
        case = self.failing.get(endpoint)
        if case is None:
            return False
        was_suspect, case.row, case.suspect = case.suspect, 0, False
        last = case.ejection
        if last is not None and now < last.until:
            last = case.ejection = replace(last, until=now)
        if last is None or self._is_over(last, now):
            del self.failing[endpoint]
        return was_suspect

    def ejected(self, now: float) -> Mapping[str, Ejection]:
        """Those that are ejected now, by endpoint."""
        return {
            name: case.ejection
            for name, case in self.failing.items()
            if case.ejection is not None and now < case.ejection.until
        }

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone, or another process has taken its place."""
        self.failing.pop(endpoint, None)

    def _is_over(self, last: Ejection, now: float) -> bool:
        return now - last.until >= self._lasts(last.number)

    def _lasts(self, number: int) -> float:
        # Not a power of any size: the number grows for as long as the endpoint does not serve.
        return min(self._rule.first_s * 2.0 ** min(number - 1, 64), self._rule.longest_s)


def kept_out(serving: Iterable[str], ejected: Mapping[str, Ejection]) -> frozenset[str]:
    """Which of a pool's endpoints that could serve get no requests: at most half of them, those ejected first."""
    names = tuple(serving)
    out = sorted([name for name in names if name in ejected], key=lambda name: (ejected[name].at, name))
    return frozenset(out[: len(names) // 2])
