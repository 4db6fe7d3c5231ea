"""A linear model of something that takes time, learned from one observation after the other."""

from collections.abc import Sequence
from operator import mul

_KEPT = 0.998  # of all that was seen, at each observation: half of it is forgotten after 350
_KEPT_OFF = 0.96  # while the model is off in one direction: half of it after 17
_OFF = 0.7  # of the error that goes the same way: of mere noise, far less does
_LEAST_OFF = 0.05
_ERROR_OVER = 64  # observations that the error is a mean of
_DRIFT_OVER = 16
_RIDGE = 1e-3
_FEW = 200
_USUAL = 3.0  # times the error: what is off by more counts less
_LEAST_ERROR = 0.05


class Regression:
    """y ≈ Σ θ·x with all θ ≥ 0, for x ≥ 0 and y > 0, by least squares of the relative error with forgetting. Mutable.

    Times are of any length, from milliseconds to minutes, and being off by half is as bad for either: each observation
    counts by 1 / max(y, what was expected), so none pulls by more than its whole size. Of those that are off by far
    more than usual (a stream that stalled) even less counts, in proportion. θ is found by coordinate descent on the
    normal equations, going on from where it was; what is negative becomes 0 (Lawson and Hanson's problem, NNLS).

    `error` is the mean of |y − expected| / max(y, expected) over the last observations, each told before it was
    learned: 0 to 1. `learn` costs 25 µs with 8 features, `weights` are for `predict`ing in one go. Memory: d² + 3d
    numbers.
    """

    __slots__ = ("_a", "_b", "_drift", "_floor", "_scales", "_theta", "error", "observations", "weights")

    def __init__(self, scales: Sequence[float], floor: float) -> None:
        """`scales`: what is usual of each feature. `floor`: what is so short that being off by it is no matter."""
        size = len(scales)
        self._scales = tuple([1.0 / scale for scale in scales])
        self._floor = floor
        self._a = [[0.0] * size for _ in range(size)]
        self._b = [0.0] * size
        self._theta = [0.0] * size
        self._drift = 0.0
        self.error = 1.0
        self.observations = 0
        self.weights: Sequence[float] = (0.0,) * size

    def predict(self, x: Sequence[float]) -> float:
        found: float = sum(map(mul, self.weights, x))
        return found

    def learn(self, x: Sequence[float], y: float) -> None:
        """What was expected of `x` took `y` seconds."""
        expected = self.predict(x)
        size = max(y, expected, self._floor)
        miss = (y - expected) / size
        self._judge(miss)
        kept = _KEPT_OFF if abs(self._drift) > max(_LEAST_OFF, _OFF * self.error) else _KEPT
        usual = _USUAL * max(self.error, _LEAST_ERROR)
        counts = 1.0 if abs(miss) <= usual else usual / abs(miss)
        scaled = [value * scale / size for value, scale in zip(x, self._scales, strict=True)]
        target = y / size * counts
        a = self._a
        for place, value in enumerate(scaled):
            part = value * counts
            a[place] = [kept * old + part * other for old, other in zip(a[place], scaled, strict=True)]
            self._b[place] = kept * self._b[place] + target * value
        self._descend()
        if self.observations < _FEW:
            self._descend()
        self.weights = tuple(map(mul, self._theta, self._scales))

    def _judge(self, miss: float) -> None:
        self.observations += 1
        number = self.observations
        self.error += (abs(miss) - self.error) / min(number, _ERROR_OVER)
        self._drift += (miss - self._drift) / min(number, _DRIFT_OVER)

    def _descend(self) -> None:
        """One pass over the coordinates."""
        theta, b = self._theta, self._b
        for place, row in enumerate(self._a):
            weight = row[place] + _RIDGE
            better = theta[place] + (b[place] - sum(map(mul, row, theta)) - _RIDGE * theta[place]) / weight
            theta[place] = better if better > 0.0 else 0.0
