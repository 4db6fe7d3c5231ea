"""How a pool's endpoints are picked, as an EndpointPickerConfig says it, for the one profile that there is here."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headgate.api.meta import Meta

PICKER_CONFIG = "headgate.dev/endpoint-picker-config"  # annotation of a pool: ConfigMap, or ConfigMap/key

PRECISE = "precise-prefix-cache-producer"
PRECISE_SCORER = "precise-prefix-cache-scorer"


class Plugin(Struct, frozen=True, omit_defaults=True):
    """One of a profile's; `parameters` are those that were written, by their published names."""

    type: str
    name: str = ""  # "" the type
    weight: float = 1.0
    parameters: Mapping[str, Any] = {}

    @property
    def called(self) -> str:
        return self.name or self.type


def goes_by_events(scorer: Plugin, precise: Plugin) -> bool:
    """Whether a scorer of prefixes goes by what this producer says."""
    named = scorer.parameters.get("prefixMatchInfoProducerName")
    return scorer.type == PRECISE_SCORER or (scorer.type == "prefix-cache-scorer" and named == precise.called)


class Picking(Struct, frozen=True, omit_defaults=True):
    """Filters run in this order; `picker` and `detector` (of saturation) are None where nothing is said of them.

    `predictor` is how latencies are predicted, where that is said; `admitters` decide whether a request may be sent.
    `precise` is what reads KV events, None where no scorer wants to know of them.
    """

    profile: str = "default"
    filters: tuple[Plugin, ...] = ()
    scorers: tuple[Plugin, ...] = ()
    picker: Plugin | None = None
    detector: Plugin | None = None
    predictor: Plugin | None = None
    admitters: tuple[Plugin, ...] = ()
    precise: Plugin | None = None


class PickerConfig(Struct, frozen=True):
    """An EndpointPickerConfig of its own, which counts for every pool that has none."""

    meta: Meta
    picking: Picking
