"""What a metrics port answers: the metrics, and what probes ask for."""

from headgate.runtime.exposition import Page
from headgate.runtime.server import Answer

TEXT = (("content-type", "text/plain; charset=utf-8"),)
_PROMETHEUS = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)


def exposed(page: Page) -> Answer:
    return Answer(200, _PROMETHEUS, page.text().encode())


def probed(path: str, *, ready: bool) -> Answer:
    """Of every path but that of the metrics."""
    if path == "/healthz":
        return Answer(200, TEXT, b"ok\n")
    if path == "/readyz":
        return Answer(200, TEXT, b"ready\n") if ready else Answer(503, TEXT, b"not ready\n")
    return Answer(404, TEXT, b"here are /metrics, /healthz and /readyz\n")
