"""What one endpoint is asked again and again, and what it has said."""

from collections.abc import Callable
from urllib.parse import urlencode

from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.engines import named
from headgate.runtime.client import written

_BACK_OFF_S = 2.0  # the longest pause after failures
_ABSENT_S = 30.0  # between two asks for what answered 404
_REFRESH_S = 0.1  # the least between two asks for models, whoever wants them
_WHOLE = "/metrics"
_TRIES = 3
_LONG = 4096  # bytes of a page of which only the part that matters is worth asking for


class Question:
    """One path of one endpoint: when it was asked, and what came of it."""

    __slots__ = ("absent", "asked_at", "error", "failures", "give_up", "least", "path", "request", "running", "wanted")

    def __init__(self, path: str, endpoint: Endpoint) -> None:
        self.give_up: Callable[[], None] | None = None  # where it is asked without a task
        self.asked_at = float("-inf")
        self.running = False
        self.wanted = False  # sooner than its turn
        self.least = _REFRESH_S
        self.absent = False  # 404: this server has no such thing
        self.failures = 0
        self.error = ""
        self.put(path, endpoint)

    def put(self, path: str, endpoint: Endpoint) -> None:
        """Ask for this from now on."""
        self.path = path
        self.request = written("GET", *place(endpoint), path)

    def due_at(self, pace: float) -> float:
        if self.running:
            return float("inf")
        if self.wanted:
            return self.asked_at + self.least
        if self.absent:
            return self.asked_at + _ABSENT_S
        if self.failures:
            pace = max(pace, min(_BACK_OFF_S, pace * 2.0 ** min(self.failures, 8)))
        return self.asked_at + pace


class Target:
    """An endpoint that is watched.

    Its metrics are asked for as a whole page at first. If that is long it is asked for in part from then on, by
    `/metrics/?name[]=`, as the Prometheus client of Python understands it (in vLLM only behind that slash): that spares
    the server writing some 50 KB, which it does in the process that serves requests. Where a part can't be had, or says
    less than the whole page did, it is whole pages again.
    """

    __slots__ = ("_in_part", "_vain", "endpoint", "load", "metrics", "models", "models_body", "new")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.load = Load()
        self.metrics = Question(_WHOLE, endpoint)
        self.models = Question("/v1/models", endpoint)
        self.models_body: bytes | None = None
        self.new = True
        self._in_part = False
        self._vain = 0  # asks for a part in a row that came to nothing

    def took(self, page: bytes, load: Load) -> bool:
        """Whether what was read from the page is the load now; else it is asked again."""
        if self._in_part and _says_less(load, self.load):
            return not self.ask_for_all(for_good=True)
        self.load = load
        if self._in_part:
            self._vain = 0
        elif len(page) > _LONG and self._vain < _TRIES:
            self._in_part = True
            names = urlencode([("name[]", name) for name in named(self.endpoint.engine)], safe=":")
            self.metrics.put(f"/metrics/?{names}", self.endpoint)
        return True

    def ask_for_all(self, *, for_good: bool) -> bool:
        """Ask for the whole page, and at once. Whether it was asked for a part before."""
        if not self._in_part:
            return False
        self._in_part, self._vain = False, _TRIES if for_good else self._vain + 1
        self.metrics.put(_WHOLE, self.endpoint)
        self.metrics.asked_at = float("-inf")
        return True


def place(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.address, endpoint.port


def _says_less(part: Load, whole: Load) -> bool:
    return any(
        there is not None and here is None
        for here, there in (
            (part.waiting, whole.waiting),
            (part.running, whole.running),
            (part.kv_usage, whole.kv_usage),
            (part.max_adapters, whole.max_adapters),
            (part.blocks, whole.blocks),
        )
    )
