"""How a pool's endpoints are picked, as an EndpointPickerConfig says it."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headgate.api.meta import Meta

PICKER_CONFIG = "headgate.dev/endpoint-picker-config"  # annotation of a pool: ConfigMap, or ConfigMap/key

PREDICTOR = "predicted-latency-producer"
PRECISE = "precise-prefix-cache-producer"
PRECISE_SCORER = "precise-prefix-cache-scorer"


class Code(Struct, frozen=True):
    """What a file of Python says."""

    file: str
    text: str
    package: str = ""  # that relative imports in it are meant from


class Plugin(Struct, frozen=True, omit_defaults=True):
    """One of a profile's; `parameters` are those that were written, by their published names.

    `code` is that of a policy in Python, once the edge has read it.
    """

    type: str
    name: str = ""  # "" the type
    weight: float = 1.0
    parameters: Mapping[str, Any] = {}
    code: Code | None = None

    @property
    def called(self) -> str:
        return self.name or self.type


def goes_by_events(scorer: Plugin, precise: Plugin) -> bool:
    """Whether a scorer of prefixes goes by what this producer says."""
    named = scorer.parameters.get("prefixMatchInfoProducerName")
    return scorer.type == PRECISE_SCORER or (scorer.type == "prefix-cache-scorer" and named == precise.called)


class Band(Struct, frozen=True, omit_defaults=True):
    """Requests of one priority that wait: how many at most, and in what order they go. None: as by default."""

    max_requests: int = 5000
    max_bytes: int = 1_000_000_000
    fairness: Plugin | None = None
    ordering: Plugin | None = None


class FlowControl(Struct, frozen=True, omit_defaults=True):
    """What `flowControl` comes to, where its feature gate is on. Limits of 0 are none, and so are times of 0.

    `bands` are those that were written, by priority; `default` stands for all others, `negative` for those below 0.
    """

    max_requests: int = 0
    max_bytes: int = 0
    ttl_s: float = 60.0
    no_endpoint_ttl_s: float = 60.0
    default: Band = Band()
    negative: Band = Band()
    bands: Mapping[int, Band] = {}
    usage: Plugin | None = None
    evicts: bool = False


class Picking(Struct, frozen=True, omit_defaults=True):
    """One profile, and with a `handler` the `others` that it chooses from too, as the `deciders` say.

    Filters run in this order; `picker` and `detector` (of saturation) are None where nothing is said of them.

    `producers` count for all of it: that of latencies wherever it is written, others as far as they have parameters.
    `admitters` decide, in this order, whether a request may be sent. `precise` is what reads KV events, None where no
    scorer wants to know of them. `flow` is None where requests do not queue.
    """

    profile: str = "default"
    filters: tuple[Plugin, ...] = ()
    scorers: tuple[Plugin, ...] = ()
    picker: Plugin | None = None
    detector: Plugin | None = None
    producers: tuple[Plugin, ...] = ()
    admitters: tuple[Plugin, ...] = ()
    handler: Plugin | None = None
    deciders: tuple[Plugin, ...] = ()
    others: tuple["Picking", ...] = ()
    precise: Plugin | None = None
    flow: FlowControl | None = None


class PickerConfig(Struct, frozen=True):
    """An EndpointPickerConfig of its own, which counts for every pool that has none."""

    meta: Meta
    picking: Picking
