"""Scorers and filters that take parameters: what each makes of them."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from headgate.api.written.plugins import (
    Active,
    ByLabel,
    Caps,
    Concurrency,
    ContextLength,
    LoadAware,
    Prefix,
    PrefixAffinity,
    Selector,
    Utilization,
)
from headgate.fleet.endpoint import BYTES_PER_TOKEN, Endpoint, Load
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.filters import Count
from headgate.pick.scorers import Depths, Scorer, Scores, Sent, active, prefix
from headgate.pick.slo import Narrow, by_headroom_tier, latency_with
from headgate.pick.sticky import while_it_pays

Keep = Callable[[Ask, Endpoint, Load, Count], bool]
Kept = tuple[Keep, bool, bool]  # the filter; whether it is steady; whether it is soft

ROLE_LABEL = "llm-d.ai/role"

# For each: the values of the role's label that are let in, and whether an endpoint without the label is.
_ALL_THREE = "encode-prefill-decode"
ROLES: Mapping[str, tuple[frozenset[str], bool]] = {
    "decode-filter": (frozenset({"decode", "prefill-decode", "both", _ALL_THREE}), True),
    "prefill-filter": (frozenset({"prefill", "encode-prefill", "prefill-decode", "both", _ALL_THREE}), False),
    "encode-filter": (frozenset({"encode", "encode-prefill", _ALL_THREE}), False),
}


# Scorers.


def prefix_with(shape: Prefix, matched: Scorer = prefix) -> Scorer:
    """w × min(1, matched tokens / scale)² + (1 − w) × matched / all. `matched` scores the latter."""
    weight, scale = shape.match_length_weight, shape.match_length_scale_tokens * BYTES_PER_TOKEN
    if not weight:
        return matched

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        shares = matched(ask, among, sent, depths)
        whole = ask.prefix[-1][0] if ask.prefix else 0
        return [weight * min(1.0, share * whole / scale) ** 2 + (1.0 - weight) * share for share in shares]

    return score


def load_aware(shape: LoadAware) -> Scorer:
    """0.5 × (1 − min(waiting, threshold) / threshold): 0.5 where nobody waits."""
    most = shape.threshold

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        return [0.5 * (1.0 - min(depth, most) / most) for depth in depths]

    return score


def active_with(shape: Active) -> Scorer:
    """1 up to the idle threshold, else (max − c) / max × the most that a busy one gets."""
    idle, most_busy = shape.idle_threshold, shape.max_busy_score
    if not idle and most_busy == 1.0:
        return active

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        most = max(sent) or 1
        return [1.0 if count <= idle else (most - count) / most * most_busy for count in sent]

    return score


def context_length(shape: ContextLength) -> Scorer:
    """How well the prompt's length, in tokens, fits the range that the endpoint is labelled with.

    Within it from 0.3 to 1: 0.3 + 0.7 × (0.7 / (1 + width / 10,000) + 0.3 × (to − length) / width), and 1 for a range
    of one length. Outside below 0.3: 0.3 / (1 + distance / 1,000). Without a label 0.5, with one that is no range 0.
    """

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        length = ask.prompt_tokens
        return [_fit(length, endpoint.labels.get(shape.label)) for endpoint in among.endpoints]

    return score


def _fit(length: int, label: str | None) -> float:
    if label is None:
        return 0.5
    bounds = _range(label)
    if bounds is None:
        return 0.0
    least, most = bounds
    if length < least or length > most:
        return 0.3 / (1.0 + max(least - length, length - most) / 1000.0)
    width = most - least
    if not width:
        return 1.0
    return 0.3 + 0.7 * (0.7 / (1.0 + width / 10_000.0) + 0.3 * (most - length) / width)


@lru_cache(maxsize=1024)
def _range(label: str) -> tuple[int, int] | None:
    """`0-2048`."""
    least, _, most = (part.strip() for part in label.partition("-"))
    if not (least.isdecimal() and most.isdecimal()) or int(least) > int(most):
        return None
    return int(least), int(most)


SCORERS_WITH: Mapping[str, tuple[Callable[[Any], Scorer], bool]] = {  # and whether they are steady
    "prefix-cache-scorer": (prefix_with, False),
    "load-aware-scorer": (load_aware, False),
    "active-request-scorer": (active_with, False),
    "context-length-aware": (context_length, False),
    "latency-scorer": (latency_with, False),
}


# Filters.


def in_role(values: frozenset[str], unlabelled: bool) -> Keep:
    def keep(ask: Ask, endpoint: Endpoint, load: Load, count: Count) -> bool:
        role = endpoint.labels.get(ROLE_LABEL)
        return unlabelled if role is None else role in values

    return keep


def by_label(shape: ByLabel) -> Kept:
    def keep(ask: Ask, endpoint: Endpoint, load: Load, count: Count) -> bool:
        value = endpoint.labels.get(shape.label)
        return shape.allows_no_label if value is None else value in shape.valid_values

    return keep, True, False


def by_selector(shape: Selector) -> Kept:
    """As Kubernetes reads a label selector: NotIn lets in who has no such label."""

    def keep(ask: Ask, endpoint: Endpoint, load: Load, count: Count) -> bool:
        labels = endpoint.labels
        if not shape.match_labels.items() <= labels.items():
            return False
        for one in shape.match_expressions:
            there = one.key in labels
            if one.operator == "In":
                fits = there and labels[one.key] in one.values
            elif one.operator == "NotIn":
                fits = not there or labels[one.key] not in one.values
            else:
                fits = there is (one.operator == "Exists")
            if not fits:
                return False
        return True

    return keep, True, False


def by_context_length(shape: ContextLength) -> Kept:
    """Who has no label takes any length; whose label is no range takes none."""

    def keep(ask: Ask, endpoint: Endpoint, load: Load, count: Count) -> bool:
        label = endpoint.labels.get(shape.label)
        if label is None:
            return True
        bounds = _range(label)
        return bounds is not None and bounds[0] <= ask.prompt_tokens <= bounds[1]

    return keep, False, False


_REPORTED: Mapping[str, Callable[[Load], float]] = {
    "running-requests": lambda load: load.running or 0,
    "waiting-queue": lambda load: load.waiting or 0,
    "kv-cache-utilization": lambda load: load.kv_usage or 0.0,
}


def by_caps(shape: Caps) -> Kept:
    """All that are at most at every cap. What an endpoint does not report counts 0."""
    live = any(cap.metric == "active-requests" for cap in shape.conditions)

    def keep(ask: Ask, endpoint: Endpoint, load: Load, count: Count) -> bool:
        for cap in shape.conditions:
            read = _REPORTED.get(cap.metric)
            if (count(endpoint.name) if read is None else read(load)) > cap.max_value:
                return False
        return True

    return keep, not live, shape.fallback_on_empty


def by_utilization(shape: Utilization) -> Kept:
    """Who waits less than the threshold, and has more KV cache left. Who has not reported is not let in."""
    depth = shape.queue_depth_threshold * (1.0 + shape.headroom)
    usage = shape.kv_cache_util_threshold * (1.0 + shape.headroom)

    def keep(ask: Ask, endpoint: Endpoint, load: Load, count: Count) -> bool:
        return load.at is not None and (load.waiting or 0) < depth and (load.kv_usage or 0.0) < usage

    return keep, True, True


def by_concurrency(shape: Concurrency) -> Kept:
    most = shape.max_concurrency * (1.0 + shape.headroom)

    def keep(ask: Ask, endpoint: Endpoint, load: Load, count: Count) -> bool:
        return count(endpoint.name) < most

    return keep, False, True


FILTERS_WITH: Mapping[type, Callable[[Any], Kept]] = {
    ByLabel: by_label,
    Selector: by_selector,
    ContextLength: by_context_length,
    Caps: by_caps,
    Utilization: by_utilization,
    Concurrency: by_concurrency,
}

# What needs predictions; of filters those that `narrow_of` makes something of.

PREDICTING = frozenset({"latency-scorer", "latency-slo-admitter"})


def narrow_of(kind: str, shape: Any) -> Narrow | None:
    """None for one that is a filter without predictions, or none at all."""
    if kind == "slo-headroom-tier-filter":
        return by_headroom_tier(shape)
    if isinstance(shape, PrefixAffinity) and shape.ttft_source == "latencyPredictor":
        return while_it_pays(shape)
    return None
