"""Policies that users write in Python: what their functions are given, and what becomes of what those return.

    def scorer(ask: Asked, endpoint: Candidate, now: float) -> float      # from 0 to 1
    def filter(ask: Asked, endpoint: Candidate, now: float) -> bool       # whether it may serve

`now` is in seconds, of a clock that only goes forward. Reading files, the clock and the limits are the edge's.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from headgate.api.picker import Plugin
from headgate.fleet.endpoint import Endpoint, Load
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.draws import Dice
from headgate.pick.filters import Sieve
from headgate.pick.scorers import Depths, Scorer, Scores, Sent, shares
from headgate.pick.skipped import Skipped


class Asked(Struct, frozen=True, gc=False):
    """The request. `model` is the name that the server will see; bytes / 4 are about the prompt's tokens."""

    model: str
    prompt_bytes: int
    priority: int


class Candidate(Struct, frozen=True, gc=False):
    """An endpoint. `waiting`, `running`, `kv_usage` (0 to 1) and the adapters are what it reported last, None where it
    does not; `in_flight` are our own requests there now. `prefix` is the part of the prompt, 0 to 1, that it has seen,
    None for filters: who may serve is found out before.
    """

    name: str
    address: str
    port: int
    labels: Mapping[str, str]
    waiting: int | None
    running: int | None
    kv_usage: float | None
    in_flight: int
    prefix: float | None
    adapters: frozenset[str]  # that requests use now or wait for
    max_adapters: int | None


# Asks the function about each: the answers, in that order, or why it is skipped this time.
Run = Callable[[Asked, Sequence[Candidate]], Sequence[float] | str]
Functions = Callable[[Plugin], Run]


def none_here(plugin: Plugin) -> Run:
    """Where no code is run."""
    raise AssertionError(f"{plugin.called}: nobody has read its code")


def scorer_by(run: Run) -> Scorer:
    """Where it is skipped, all are alike."""

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        seen = shares(ask, among)
        asked = Asked(ask.model, ask.prompt_bytes, ask.priority)
        given = [
            _candidate(endpoint, load, count, share)
            for endpoint, load, count, share in zip(among.endpoints, among.loads, sent, seen, strict=True)
        ]
        answers = run(asked, given)
        return Skipped(among.zeros, answers) if isinstance(answers, str) else answers

    return score


def sieve_by(name: str, run: Run) -> Sieve:
    """Where it is skipped, nobody is removed."""

    def sift(ask: Ask, among: Candidates, dice: Dice) -> Sequence[bool] | Skipped:
        given = [
            _candidate(endpoint, load, count, None)
            for endpoint, load, count in zip(among.endpoints, among.loads, among.in_flight(), strict=True)
        ]
        answers = run(Asked(ask.model, ask.prompt_bytes, ask.priority), given)
        return Skipped((), answers) if isinstance(answers, str) else [bool(answer) for answer in answers]

    return Sieve(name, steady=False, among=sift)


def _candidate(endpoint: Endpoint, load: Load, in_flight: int, share: float | None) -> Candidate:
    waiting = load.adapters_waiting
    return Candidate(
        endpoint.name,
        endpoint.address,
        endpoint.port,
        endpoint.labels,
        load.waiting,
        load.running,
        load.kv_usage,
        in_flight,
        share,
        load.adapters_running | waiting if waiting else load.adapters_running,
        load.max_adapters,
    )


def wrong_score(value: object) -> str:
    """What is wrong with it, in words; "" where nothing is."""
    if isinstance(value, float | int) and 0.0 <= value <= 1.0:
        return ""
    return f"returned {_shown(value)}: a score is a number from 0 to 1"


def wrong_verdict(value: object) -> str:
    """The same of what a filter returns."""
    return "" if isinstance(value, bool) else f"returned {_shown(value)}: a filter returns True or False"


def _shown(value: object) -> str:
    if value is None or isinstance(value, float | int | str):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:39]}…"
    return f"a {type(value).__name__}"
