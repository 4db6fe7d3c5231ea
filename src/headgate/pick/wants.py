"""What plugins want besides a choice: to read headers of the request, to hear where it went, to have tokens counted."""

from collections.abc import Callable

from msgspec import Struct

from headgate.fleet.endpoint import BYTES_PER_TOKEN
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.decision import Ask, Decision
from headgate.pick.filters import Sift
from headgate.pick.scorers import Scorer

# Of the request, what was decided, what of that by the plugin's own profile, the index before it knows, and when.
Note = Callable[[Ask, Decision, Decision, PrefixIndex, float], None]

# A header of the answer that names an endpoint, and the profile that chose it; "" the one that counts.
Stamp = tuple[str, str]


class Estimate(Struct, frozen=True):
    """How many tokens a request counts for while it is under way: of its prompt those that are not cached.

    With `output` also those of the answer, `ratio` times as many as the prompt has, at most `most` and at most as many
    as the client takes (inflight-load-producer).
    """

    output: bool = False
    ratio: float = 1.5
    most: int | None = None


class Burden(Struct, frozen=True, gc=False):
    """Tokens: those of the prompt until the answer begins, those of the answer until it ends."""

    prompt: int
    output: int = 0


class Wants(Struct, frozen=True):
    """`headers` of the request, in lower case, are told in its Ask; `notes` are called for each that is sent; `stamps`
    are headers of its answer. Of both it is told which profile wants them: they are for what that has decided.

    Without an `estimate` no tokens are counted.
    """

    headers: tuple[str, ...] = ()
    notes: tuple[tuple[str, Note], ...] = ()
    estimate: Estimate | None = None
    stamps: tuple[tuple[str, Stamp], ...] = ()
    media: bool = False  # whether it has images, video or audio


class Part(Struct, frozen=True):
    """What a plugin is to the profiles that use it, and what it wants. `counts`: it reads tokens in flight."""

    scorer: Scorer | None = None
    sift: Sift | None = None
    soft: bool = False
    headers: tuple[str, ...] = ()
    note: Note | None = None
    counts: bool = False
    stamp: Stamp | None = None


def burden(ask: Ask, endpoint: str, index: PrefixIndex, estimate: Estimate) -> Burden:
    """Of a request that goes to this endpoint, which has not seen it yet."""
    prompt = ask.prompt_tokens
    cached = index.match(ask.prefix).get(endpoint, 0) // BYTES_PER_TOKEN
    if not estimate.output:
        return Burden(prompt - cached)
    output = round(prompt * estimate.ratio)
    for most in (estimate.most, ask.most_output):
        output = output if most is None else min(output, most)
    return Burden(prompt - cached, output)


def observe(wants: Wants, ask: Ask, decision: Decision, index: PrefixIndex, now: float) -> Burden | None:
    """A request is sent where the decision says. What it counts for there, None where nobody counts."""
    for profile, note in wants.notes:
        own = decision.of(profile)
        if own is not None:
            note(ask, decision, own, index, now)
    if wants.estimate is None or decision.endpoint is None:
        return None
    return burden(ask, decision.endpoint.name, index, wants.estimate)
