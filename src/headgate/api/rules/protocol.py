"""What is said of servers that are declared to speak another protocol than the one they are spoken to in."""

from collections.abc import Iterator

from headgate.api.fault import Fault, Path

_HTTP2 = ("kubernetes.io/h2c", "h2c", "http2")  # GEP-1911, and GKE's own names


def told_of_http2(app_protocol: str, path: Path) -> Iterator[Fault]:
    """A warning: the gateway speaks HTTP/1.1 to every server."""
    if app_protocol.lower() in _HTTP2:
        message = f"{app_protocol} is served by HTTP/1.1 here: write http, or keep it where the servers speak both"
        yield Fault(path, message, "warning")
