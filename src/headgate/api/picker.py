"""How a pool's endpoints are picked, as an EndpointPickerConfig says it."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headgate.api.meta import Meta

PICKER_CONFIG = "headgate.dev/endpoint-picker-config"  # annotation of a pool: ConfigMap, or ConfigMap/key


class Plugin(Struct, frozen=True, omit_defaults=True):
    """One of a profile's; `parameters` are those that were written, by their published names."""

    type: str
    name: str = ""  # "" the type
    weight: float = 1.0
    parameters: Mapping[str, Any] = {}

    @property
    def called(self) -> str:
        return self.name or self.type


class Picking(Struct, frozen=True, omit_defaults=True):
    """One profile, and with a `handler` the `others` that it chooses from too, as the `deciders` say.

    Filters run in this order; `picker` and `detector` (of saturation) are None where nothing is said of them.

    `producers` count for all of it, as far as they have parameters; `admitters` keep out what may be shed.
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


class PickerConfig(Struct, frozen=True):
    """An EndpointPickerConfig of its own, which counts for every pool that has none."""

    meta: Meta
    picking: Picking
