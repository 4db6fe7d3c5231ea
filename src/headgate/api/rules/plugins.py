"""Names of plugins, as messages tell of them."""

from collections.abc import Iterable, Mapping

from headgate.api.advice import nearest
from headgate.api.fault import Fault, Path


def dangling(name: str, types: Mapping[str, str], path: Path) -> Fault:
    if not types:
        return Fault(path, f'no plugin is called "{name}": write it under `plugins:` first')
    return Fault(path, f'no plugin is called "{name}": write {meant(name, types)}')


def meant(name: str, choices: Iterable[str]) -> str:
    found = nearest(name, choices)
    if found:
        return found
    known = sorted(choices)
    if len(known) == 1:
        return known[0]
    return f"one of {', '.join(known)}" if len(known) <= 8 else "one that docs/picking.md has"
