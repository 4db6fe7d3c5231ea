"""What happened to one request: the one value that the access log, the metrics and `headgate explain` read."""

from msgspec import Struct

from headgate.exchange.usage import Usage
from headgate.flow.ticket import Stay
from headgate.pick.decision import Decision
from headgate.pick.expectation import Expectation

_DECISIONS = 16  # kept: the last ones


class Record(Struct):
    """Filled by the exchange as it goes. Times are seconds of the caller's clock, 0.0 where it never came to that.

    Tokens are those that the server told of, None where it did not. `chunks` counts the pieces of a stream of an
    inference pool as they came from the server, 0 for other answers.
    """

    id: str = ""
    method: str = ""
    path: str = ""
    host: str = ""
    peer: str = ""
    client: str = ""  # whose key it was, "" where none was asked for
    route: str = ""
    pool: str = ""
    model: str = ""  # as the client asked
    target: str = ""  # as the server saw it
    base: str = ""  # the base model of `target`, "" where nobody knows
    resolved_by: str = ""
    objective: str = ""  # that the client named, and the pool has
    priority: int = 0
    endpoint: str = ""
    status: int = 0
    error: str = ""
    refused: str = ""  # why it was refused, in a word, where the status does not say it
    tries: int = 0
    waited: bool = False
    streamed: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None  # among those of the prompt
    completion_tokens: int | None = None
    chunks: int = 0
    asked_at: float = 0.0
    sent_at: float = 0.0
    answered_at: float = 0.0
    ended_at: float = 0.0
    decisions: tuple[Decision, ...] = ()
    expected: Expectation | None = None  # of the last try, where the pool predicts
    stay: Stay | None = None  # in the pool's queues, where it has flow control

    def account(self, usage: Usage) -> None:
        self.prompt_tokens, self.cached_tokens, self.completion_tokens = usage.prompt, usage.cached, usage.completion

    def note(self, decision: Decision) -> None:
        """While a request waits there may be hundreds of attempts: of the vain ones in a row, the last tells enough."""
        before = self.decisions
        if not before:
            self.decisions = (decision,)
            return
        if decision.endpoint is None and before[-1].endpoint is None:
            before = before[:-1]
        self.decisions = (*before[1 - _DECISIONS :], decision)

    @property
    def address(self) -> str:
        """Of the endpoint that was asked last, `host:port`; "" where none was."""
        asked = (decision.endpoint for decision in reversed(self.decisions) if decision.endpoint is not None)
        return next((endpoint.hostport for endpoint in asked), "")
