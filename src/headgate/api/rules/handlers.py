"""Rules of what chooses among several profiles."""

from collections.abc import Iterator, Sequence

import msgspec

from headgate.api.fault import Fault, Path
from headgate.api.written.picker import WrittenPickerConfig, WrittenPlugin
from headgate.api.written.plugins import KNOWN, HeaderProfile
from headgate.api.written.stages import Disaggregation, staged


def handled(handler: WrittenPlugin, written: WrittenPickerConfig) -> Iterator[Fault]:
    """What is wrong with it for these profiles, where its parameters are well formed."""
    path: Path = ("plugins", written.plugins.index(handler), "parameters")
    try:
        shape = msgspec.convert(handler.parameters or {}, KNOWN[handler.type].shape)
    except msgspec.ValidationError:
        return  # that is told
    names = [profile.name for profile in written.scheduling_profiles]
    if isinstance(shape, Disaggregation):
        yield from _stages(shape, names, written, path)
    if isinstance(shape, HeaderProfile) and shape.default_profile not in names:
        told = (
            f'no profile is called "{shape.default_profile}": a request without the header {shape.header_name} gets '
            f"400; write one of {', '.join(names)}"
        )
        yield Fault((*path, "defaultProfile"), told, "warning")


def _stages(shape: Disaggregation, names: Sequence[str], written: WrittenPickerConfig, path: Path) -> Iterator[Fault]:
    stages = staged(shape)
    if shape.primary_port:
        told = "it is not supported: write all ports of the ranks in the pool's `targetPorts`; each is an endpoint"
        yield Fault((*path, "primaryPort"), told)
    if stages.profiles.decode not in names:
        told = f'no profile is called "{stages.profiles.decode}": write one of {", ".join(names)} as `profiles.decode`'
        yield Fault(path, told)
    if stages.prefill_first and stages.deciders.prefill:
        yield Fault((*path, "stageOrder"), "with prefill-first every request is split: remove the decider of prefill")
    types = {plugin.name or plugin.type: plugin.type for plugin in written.plugins}
    for stage in ("prefill", "encode"):
        decider, profile = getattr(stages.deciders, stage), getattr(stages.profiles, stage)
        if not decider:
            continue
        kind = types.get(decider, "")
        if kind not in KNOWN or "decider" not in KNOWN[kind].roles:
            told = f'no decider is called "{decider}": write prefix-based-pd-decider under `plugins:`, or another one'
            yield Fault((*path, "deciders", stage), told)
        elif profile not in names:
            told = f'no profile is called "{profile}", so it decides nothing: write it under schedulingProfiles'
            yield Fault((*path, "deciders", stage), told, "warning")
