"""What became of a request in a rehearsal, and how the servers were at one moment."""

from msgspec import Struct


class Outcome(Struct, frozen=True, gc=False):
    """What became of a request, in seconds: the first token after it came, each further one after the one before.

    One that was refused has no endpoint (-1), and never had a token.
    """

    at: float
    endpoint: int
    ttft: float
    tpot: float
    ended: float
    prompt: int
    output: int
    cached: int
    preemptions: int
    priority: int = 0
    flow: str = ""
    pulled: int = 0  # tokens of the prompt that another server has computed
    longest_itl: float = 0.0  # between two tokens

    @property
    def refused(self) -> bool:
        return self.endpoint < 0


class Sample(Struct, frozen=True, gc=False):
    """All servers together, as the gateway last read them: requests, and the mean usage of KV caches. `queued` are the
    requests that it holds back itself.
    """

    at: float
    waiting: int
    running: int
    kv_usage: float
    queued: int = 0
