"""Items of a list that must differ from each other."""

from collections.abc import Hashable, Iterable, Iterator

from headgate.api.fault import Fault, Path


def repeated(values: Iterable[Hashable], path: Path, field: Path, message: str) -> Iterator[Fault]:
    """A fault at every item whose value came before. None is like no other; `{value}` and `{first}` may be told."""
    seen: dict[Hashable, int] = {}
    for i, value in enumerate(values):
        if value is None:
            continue
        if value in seen:
            place = f"{path[-1]}[{seen[value]}]"
            yield Fault((*path, i, *field), message.format(value=value, first=place))
        else:
            seen[value] = i
