"""What happened to one request: the one value that the access log, the metrics and `headgate explain` read."""

from msgspec import Struct

from headgate.pick.decision import Decision


class Record(Struct):
    """Filled by the exchange as it goes. Times are seconds of the caller's clock, 0.0 where it never came to that."""

    id: str = ""
    method: str = ""
    path: str = ""
    host: str = ""
    peer: str = ""
    route: str = ""
    pool: str = ""
    model: str = ""  # as the client asked
    target: str = ""  # as the server saw it
    resolved_by: str = ""
    priority: int = 0
    endpoint: str = ""
    status: int = 0
    error: str = ""
    tries: int = 0
    waited: bool = False
    streamed: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    asked_at: float = 0.0
    sent_at: float = 0.0
    answered_at: float = 0.0
    ended_at: float = 0.0
    decisions: tuple[Decision, ...] = ()

    @property
    def address(self) -> str:
        """Of the endpoint that was asked last, `host:port`; "" where none was."""
        asked = (decision.endpoint for decision in reversed(self.decisions) if decision.endpoint is not None)
        return next((endpoint.hostport for endpoint in asked), "")
