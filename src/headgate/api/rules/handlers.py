"""Rules of what chooses among several profiles."""

from collections.abc import Iterator

import msgspec

from headgate.api.fault import Fault, Path
from headgate.api.written.picker import WrittenPickerConfig, WrittenPlugin
from headgate.api.written.plugins import KNOWN, HeaderProfile


def handled(handler: WrittenPlugin, written: WrittenPickerConfig) -> Iterator[Fault]:
    """What is wrong with it for these profiles, where its parameters are well formed."""
    path: Path = ("plugins", written.plugins.index(handler), "parameters")
    try:
        shape = msgspec.convert(handler.parameters or {}, KNOWN[handler.type].shape)
    except msgspec.ValidationError:
        return  # that is told
    names = [profile.name for profile in written.scheduling_profiles]
    if isinstance(shape, HeaderProfile) and shape.default_profile not in names:
        told = (
            f'no profile is called "{shape.default_profile}": a request without the header {shape.header_name} gets '
            f"400; write one of {', '.join(names)}"
        )
        yield Fault((*path, "defaultProfile"), told, "warning")
