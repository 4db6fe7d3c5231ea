"""Objects of a cluster, decoded: what did not change since is not decoded again."""

from collections.abc import Sequence

from headgate.api.objects import Found, live
from headgate.runtime.kubernetes.holdings import Held

Name = tuple[str, str, str]  # group, kind, namespace/name


class Decoder:
    """For one thread at a time."""

    def __init__(self) -> None:
        self._known: dict[Name, tuple[object, Found]] = {}

    def read(self, objects: Sequence[Held]) -> list[Found]:
        """In the order of the objects. What is no longer among them is forgotten."""
        before, self._known = self._known, {}
        for held in objects:
            resource = held.resource
            name = (resource.group, resource.kind, held.key)
            value, found = before.get(name, (None, None))
            if found is None or value is not held.value:
                found = live(held.value, resource.kind, resource.api_version, f"{resource.kind} {held.key}")
            self._known[name] = (held.value, found)
        return [found for _, found in self._known.values()]
