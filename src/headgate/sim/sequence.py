"""What goes into an engine, and what comes out of it."""

from collections.abc import Sequence

from msgspec import Struct

from headgate.sim.blocks import Block, Note


class Work(Struct, frozen=True, gc=False):
    """One sequence to generate: `prompt` tokens are there, `output` tokens (at least 1) are to come.

    `keys` name the content of the sequence's full blocks, each chained to the one before it and to the adapter, so
    that equal keys mean equal prefixes. `cached` False: compute the whole prompt (it is asked for its log
    probabilities). `pulls`: another server has computed the prompt. `keeps`: for so many seconds after its end its
    blocks are kept for another server.
    """

    id: str
    prompt: int
    output: int
    keys: Sequence[int] = ()
    adapter: str = ""
    cached: bool = True
    content: bytes = b""  # the tokens, and
    salt: str = ""  # of the cache: for who hears of blocks
    pulls: bool = False
    keeps: float = 0.0


class Stored(Note, frozen=True):
    """A sequence's blocks from the `first` to before the `past` are full, and cached."""

    work: Work
    first: int
    past: int


class Timeline(Struct, frozen=True, gc=False):
    """What happened to a sequence, in seconds of the clock that the engine was given."""

    arrived: float
    scheduled: float
    first_token: float
    ended: float
    preemptions: int
    cached_tokens: int
    pulled_tokens: int = 0
    longest_gap: float = 0.0  # between two tokens of the answer


class Output(Struct, frozen=True, gc=False):
    """One more token for a sequence: the `tokens`-th. `timeline` comes with the last one."""

    id: str
    tokens: int
    since: float  # seconds since the token before it, or since it arrived
    cached_tokens: int
    timeline: Timeline | None = None


class Counts(Struct):
    """What the engine has counted since it started."""

    prefix_queries: int = 0
    prefix_hits: int = 0
    preemptions: int = 0
    prompt_tokens: int = 0
    prompt_tokens_cached: int = 0
    prompt_tokens_pulled: int = 0  # from other servers
    generation_tokens: int = 0
    steps: int = 0

    def prompt(self, work: Work, hit: int, pulled: int = 0) -> None:
        """A prompt is begun with: tokens that were cached, and that another server has."""
        if work.cached:
            self.prefix_queries += work.prompt
            self.prefix_hits += hit
        self.prompt_tokens += work.prompt
        self.prompt_tokens_cached += hit
        self.prompt_tokens_pulled += pulled


class Queued:
    """A sequence that waits or runs."""

    __slots__ = (
        "arrived", "blocks", "cached", "computed", "first_token", "generated", "last_token", "longest_gap",
        "preemptions", "pulled", "scheduled", "work",
    )  # fmt: skip

    def __init__(self, work: Work, now: float) -> None:
        self.work = work
        self.blocks: list[Block] = []
        self.computed = 0  # tokens whose KV is there
        self.generated = 0
        self.cached = -1  # tokens that came from the prefix cache at first; -1 before it was scheduled
        self.pulled = 0  # tokens that came from another server, or are to
        self.preemptions = 0
        self.arrived = self.last_token = now
        self.scheduled = self.first_token = self.longest_gap = 0.0

    def timeline(self, at: float) -> Timeline:
        """It ends."""
        return Timeline(
            self.arrived,
            self.scheduled,
            self.first_token,
            at,
            self.preemptions,
            self.cached,
            self.pulled,
            self.longest_gap,
        )
