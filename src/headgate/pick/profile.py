"""A profile is how a pool chooses: which filters, which scorers, and what each scorer weighs."""

from msgspec import Struct

from headgate.pick.filters import FILTERS

_ALL_FILTERS = tuple(FILTERS)


class Profile(Struct, frozen=True):
    """Names from FILTERS and SCORERS; the filters run in this order. Weights are ≥ 0."""

    name: str
    scorers: tuple[tuple[str, float], ...]
    filters: tuple[str, ...] = _ALL_FILTERS


# 2, 2, 3 are what the field's pickers use when nothing is configured. They leave adapters out; 2 makes an endpoint
# whose slots are all taken (0) lose against one with a free slot (0.8) unless that one is 80 % deeper in queue or in
# KV usage, while having the adapter already (1.0) is worth no more than 20 % of either: loading one takes a second,
# evicting one takes it from somebody else.
DEFAULT = Profile(
    "default",
    (
        ("queue-scorer", 2.0),
        ("kv-cache-utilization-scorer", 2.0),
        ("prefix-cache-scorer", 3.0),
        ("lora-affinity-scorer", 2.0),
    ),
)

# What is behind a Service need not be a model server: the fewest of our own requests in flight.
SERVICE = Profile("service", (("active-request-scorer", 1.0),))
