"""Scorers: how well each endpoint would do, in [0, 1], for all candidates at once.

The names and the arithmetic are those of the endpoint pickers of the field (EndpointPickerConfig), so that a profile
means the same here. Where they read a load that may be 50 ms old, ours adds what the ledger knows.
"""

from collections.abc import Callable, Mapping, Sequence
from math import fsum

from headgate.fleet.endpoint import Load, Served
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask

_PREFIXES_REMEMBERED = 1024
_FULL_QUEUE = 5  # what utilization-detector calls full (queueDepthThreshold)
_FULL_WHERE_CROWDED = 30
_HELD = 0.75
_UNEVEN = 6  # times the shortest queue: what else may wait for a prefix

Scores = Sequence[float]
Sent = Sequence[int]  # our own requests in flight, for each candidate
Depths = Sequence[int]  # the requests that wait at each of them, as `Candidates.depths` counts them
Scorer = Callable[[Ask, Candidates, Sent, Depths], Scores]


def queue(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """(max − q) / (max − min) of the waiting requests; all equal: 1."""
    return _fewest_best(depths, among)


def running(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """(max − r) / (max − min) of the running requests; all equal: 1."""
    return _fewest_best([load.running or 0 for load in among.loads], among)


def active(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """(max − c) / max of our own requests in flight; 1 where there are none."""
    most = max(sent)
    return tuple([(most - count) / most for count in sent]) if most else among.ones


def kv_cache(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """1 − usage. Unknown usage earns the mean of the known ones: neither an advantage nor a punishment."""
    known = [1.0 - load.kv_usage for load in among.loads if load.kv_usage is not None]
    if not known:
        return among.ones
    mean = fsum(known) / len(known)  # the exact sum, so that the order of the endpoints does not matter
    return tuple([mean if load.kv_usage is None else 1.0 - load.kv_usage for load in among.loads])


def lora_affinity(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """For a request of an adapter: 1 where it is active, 0.8 where a slot is free, 0.6 where it waits for one, else 0.

    A base model needs no slot: 1 wherever it is one, and everywhere if no endpoint knows it as an adapter.
    """
    model = ask.model
    known = False  # as an adapter, by any endpoint
    scores = []
    for load in among.loads:
        served = _served(load, model)
        if model in load.adapters_running:
            known = True
            scores.append(1.0)
        elif served is not None and not served.parent:
            scores.append(1.0)
        else:
            waits = model in load.adapters_waiting
            known = known or waits or served is not None
            # vLLM names an adapter of any request in both lists.
            taken = len(load.adapters_running | load.adapters_waiting)
            scores.append(0.8 if load.max_adapters is None or taken < load.max_adapters else 0.6 if waits else 0.0)
    return tuple(scores) if known else among.ones


def prefix(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """The part of the prompt that the endpoint has seen already.

    0 where the queue is 5 longer than 6 times the shortest one. Weighing more than the queue as it does, a prefix that
    everybody shares would else keep a whole burst at the first endpoint that saw it; so the sixth goes elsewhere, and
    then that endpoint knows it too. Where all queues are long, or all KV caches half full, one more copy of a prefix
    takes the room of requests: there it is worth waiting for (docs/rehearsals.md has what came of other bounds).
    """
    scores = shares(ask, among)
    return scores if scores is among.zeros else _drawn(scores, among, depths)


def shares(ask: Ask, among: Candidates) -> Scores:
    """The same for each candidate, whatever its queue; `zeros` where nobody knows any of it."""
    return shares_held(ask, among)[0]


def shares_held(ask: Ask, among: Candidates) -> tuple[Scores, Sequence[int]]:
    """The same, and the places of those that hold it: they know at least ¾ of what the best of them does."""
    index, rungs = among.index, ask.prefix
    groups = index.groups(rungs, among.bits())
    if not groups:
        among.matched = among.zeros
        return among.zeros, ()
    key = (groups, rungs[-1][0], index.admitted)
    known = among.prefixes.get(key)
    if known is None:
        if len(among.prefixes) >= _PREFIXES_REMEMBERED:
            among.prefixes.clear()
        known = among.prefixes[key] = _by_place(index.named(groups), rungs[-1][0], among)
    among.matched = known[0]
    return known


def _by_place(found: Mapping[str, int], total: int, among: Candidates) -> tuple[Scores, Sequence[int]]:
    places, scores = among.places, list(among.zeros)
    seen = [(places[name], length) for name, length in found.items() if name in places]
    least = max([length for _, length in seen], default=0) * _HELD
    for place, length in seen:
        scores[place] = length / total
    return tuple(scores), [place for place, length in seen if length >= least]


def precise(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """The same by what the endpoints' KV events say of their caches; by what was sent, where they say nothing."""
    held, rungs = among.index.held, ask.prefix
    if held is None or not rungs:
        return prefix(ask, among, sent, depths)
    found, total = held.match(rungs, among.index.match(rungs)), rungs[-1][0]
    if not found:
        among.matched = among.zeros
        return among.zeros
    among.matched = [found.get(name, 0) / total for name in among.names]
    return _drawn(among.matched, among, depths)


def _drawn(scores: Scores, among: Candidates, depths: Depths) -> Scores:
    """The scores, 0 where the queue is too long to wait there for a prefix."""
    least = min(depths) * _UNEVEN
    full = least + (_FULL_QUEUE if among.roomy else _FULL_WHERE_CROWDED)
    if max(depths) < full:
        return scores
    drawn = [score if depth < full else 0.0 for score, depth in zip(scores, depths)]  # noqa: B905 - dear
    lone = among.lone
    if lone >= 0 and depths[lone] < least + _FULL_WHERE_CROWDED:  # that it has room itself is nothing against it
        drawn[lone] = scores[lone]
    return drawn


SCORERS: dict[str, Scorer] = {
    "queue-scorer": queue,
    "kv-cache-utilization-scorer": kv_cache,
    "lora-affinity-scorer": lora_affinity,
    "prefix-cache-scorer": prefix,
    "running-requests-size-scorer": running,
    "active-request-scorer": active,
}

# Those that look at nothing but loads and the model: scored once, without `sent`, and used until loads or endpoints
# change.
STEADY_SCORERS = frozenset({"kv-cache-utilization-scorer", "lora-affinity-scorer", "running-requests-size-scorer"})


def _fewest_best(counts: Sequence[int], among: Candidates) -> Scores:
    least, most = min(counts), max(counts)
    if least == most:
        return among.ones
    span = most - least
    return [(most - count) / span for count in counts]


def _served(load: Load, model: str) -> Served | None:
    for served in load.models or ():
        if served.id == model:
            return served
    return None
