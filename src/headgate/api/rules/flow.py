"""Rules of an EndpointPickerConfig's `flowControl:`."""

from collections.abc import Iterator, Mapping

from headgate.api.fault import Fault, Path
from headgate.api.rules.sameness import repeated
from headgate.api.written.flow import UNWRITTEN, WrittenBand, WrittenFlowControl, count
from headgate.api.written.plugins import KNOWN, Role


def flow_rules(written: WrittenFlowControl, types: Mapping[str, str]) -> Iterator[Fault]:
    """`types`: the plugins that are written, by name."""
    path: Path = ("flowControl",)
    yield from _limits(written, path)
    usage = written.usage_limit_policy_plugin_ref
    yield from _policy(usage, "usage", "limits no usage", types, (*path, "usageLimitPolicyPluginRef"))
    bands: list[tuple[Path, WrittenBand]] = []
    for name, band in (
        ("defaultPriorityBand", written.default_priority_band),
        ("defaultNegativePriorityBand", written.default_negative_priority_band),
    ):
        if band is not None:
            bands.append(((*path, name), band))
    bands += [((*path, "priorityBands", i), band) for i, band in enumerate(written.priority_bands)]
    for place, band in bands:
        yield from _limits(band, place)
        fair, ordered = band.fairness_policy_ref, band.ordering_policy_ref
        yield from _policy(fair, "fairness", "is no fairness policy", types, (*place, "fairnessPolicyRef"))
        yield from _policy(ordered, "ordering", "is no ordering policy", types, (*place, "orderingPolicyRef"))
    priorities = [str(band.priority) for band in written.priority_bands]
    told = "{value} is the priority of {first} too: keep one of them"
    yield from repeated(priorities, (*path, "priorityBands"), ("priority",), told)


def _limits(written: WrittenFlowControl | WrittenBand, path: Path) -> Iterator[Fault]:
    for name, value in (("maxBytes", written.max_bytes), ("maxRequests", written.max_requests)):
        if count(value) < 0:
            yield Fault((*path, name), f"{value} is out of range: write 0 or more")


def _policy(name: str, role: Role, told: str, types: Mapping[str, str], path: Path) -> Iterator[Fault]:
    if not name:
        return
    fit = sorted(one for one, known in KNOWN.items() if role in known.roles)
    kind = types.get(name, name if name in UNWRITTEN else "")
    if not kind and name in fit:
        yield Fault(path, f'no plugin is called "{name}": write `- type: {name}` under `plugins:`')
    elif not kind:
        yield Fault(path, f'no plugin is called "{name}": write {", ".join(fit[:-1])} or {fit[-1]}')
    elif kind in KNOWN and role not in KNOWN[kind].roles:
        yield Fault(path, f"{name} {told}: write {', '.join(fit[:-1])} or {fit[-1]}")
