"""The `flowControl:` of an EndpointPickerConfig."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Struct

from headgate.api.formats import Duration, Quantity, amount, seconds
from headgate.api.picker import Band, FlowControl, Plugin
from headgate.api.written.plugins import KNOWN

INT32 = msgspec.Meta(ge=-(2**31), le=2**31 - 1)
# Those that are there without being written under `plugins:`.
UNWRITTEN = (
    "fcfs-ordering-policy",
    "global-strict-fairness-policy",
    "static-usage-limit-policy",
    "utilization-detector",
)


class DetectorRef(Struct, frozen=True, rename="camel"):
    plugin_ref: str = ""


class WrittenBand(Struct, frozen=True, rename="camel"):
    """In a template `priority` means nothing; the field wants it written nowhere but in `priorityBands`."""

    priority: Annotated[int, INT32] = 0
    max_bytes: Quantity | None = None
    max_requests: Quantity | None = None
    fairness_policy_ref: str = ""
    ordering_policy_ref: str = ""


class WrittenFlowControl(Struct, frozen=True, rename="camel"):
    max_bytes: Quantity | None = None
    max_requests: Quantity | None = None
    default_request_ttl: Duration | None = msgspec.field(default=None, name="defaultRequestTTL")
    no_endpoint_request_ttl: Duration | None = msgspec.field(default=None, name="noEndpointRequestTTL")
    default_priority_band: WrittenBand | None = None
    default_negative_priority_band: WrittenBand | None = None
    priority_bands: tuple[WrittenBand, ...] = ()
    usage_limit_policy_plugin_ref: str = ""
    saturation_detector: DetectorRef = DetectorRef()
    enable_eviction: bool = False


def flow_control(written: WrittenFlowControl, plugins: Mapping[str, Plugin]) -> FlowControl:
    """What it comes to, where the rules have found nothing wrong with it. `plugins` is by name."""
    default = _band(written.default_priority_band or WrittenBand(), plugins)
    negative = written.default_negative_priority_band
    usual = 60.0 if written.default_request_ttl is None else seconds(written.default_request_ttl)
    empty = usual if written.no_endpoint_request_ttl is None else seconds(written.no_endpoint_request_ttl)
    return FlowControl(
        max_requests=count(written.max_requests),
        max_bytes=count(written.max_bytes),
        ttl_s=usual,
        no_endpoint_ttl_s=empty,
        default=default,
        negative=default if negative is None else _band(negative, plugins),
        bands={band.priority: _band(band, plugins) for band in written.priority_bands},
        usage=_named(written.usage_limit_policy_plugin_ref, plugins),
        evicts=written.enable_eviction,
    )


def count(quantity: str | None) -> int:
    """A quantity as a whole number, rounded up as Kubernetes does; 0 where there is none."""
    found = amount(quantity) if quantity is not None else None
    return -(-found.numerator // found.denominator) if found is not None else 0


def _band(written: WrittenBand, plugins: Mapping[str, Plugin]) -> Band:
    usual = Band()
    return Band(
        max_requests=count(written.max_requests) or usual.max_requests,
        max_bytes=count(written.max_bytes) or usual.max_bytes,
        fairness=_named(written.fairness_policy_ref, plugins),
        ordering=_named(written.ordering_policy_ref, plugins),
    )


def _named(name: str, plugins: Mapping[str, Plugin]) -> Plugin | None:
    """The rules let through no name but of those that are written, and of those that need not be."""
    if not name:
        return None
    return plugins.get(name) or Plugin(KNOWN[name].called or name)
