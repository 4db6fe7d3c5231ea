"""Whose are this machine's GPUs? A Pod has its own for as long as it lives, as from a device plugin. Pure.

Sources: `nvidia.com/gpu` in the limits of its containers; where they say nothing, what vLLM's flags need.
"""

import math
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from headgate.api.formats import amount
from headgate.api.workload import Container, PodSpec
from headgate.runtime.pods.programs import Kind, line

RESOURCE = "nvidia.com/gpu"

_PARALLEL = tuple(
    re.compile(rf"(?:^|\s)(?:{flag})[=\s]+['\"]?(\d{{1,4}})\b".replace("-", "[-_]"))
    for flag in ("--tensor-parallel-size|-tp", "--pipeline-parallel-size|-pp", "--data-parallel-size|-dp")
)


class Shares(Struct, frozen=True):
    """How many GPUs a Pod needs, and which of them each container sees: those from a place to another."""

    total: int = 0
    of: Mapping[str, tuple[int, int]] = {}  # container → from, up to

    def cut(self, devices: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """container → its devices, of the Pod's."""
        return {name: tuple(devices[start:end]) for name, (start, end) in self.of.items()}


def shares(spec: PodSpec, kinds: Mapping[str, Kind]) -> Shares:
    """`kinds`: the containers that run as real processes, by name. Init containers use what comes after them."""
    of: dict[str, tuple[int, int]] = {}
    taken = most = 0
    for container in (*spec.init_containers, *spec.containers):
        count = need(container, kinds[container.name]) if container.name in kinds else 0
        of[container.name] = (taken, taken + count)
        most = max(most, taken + count)
        if container in spec.containers or container.restart_policy == "Always":
            taken += count
    return Shares(most, {name: place for name, place in of.items() if place[0] < place[1]})


def need(container: Container, kind: Kind) -> int:
    """So many GPUs a container is to have. `nvidia.com/gpu: 0` means that it takes none for itself."""
    written = container.resources.limits.get(RESOURCE)
    if written is not None:
        return math.ceil(amount(written) or 0)
    if kind != "engine":
        return 0
    words = line(container)
    sizes = [int(found[1]) for pattern in _PARALLEL if (found := pattern.search(words))]
    return max(math.prod(sizes), 1)


def allocate(
    devices: Sequence[str], held: Mapping[str, Sequence[str]], wanting: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """Who of those that want some (first come, first served) can have which; who can't is left out.

    What is held stays held. One that wants more than is free does not keep those after it from having theirs.
    """
    taken = {device for some in held.values() for device in some}
    free = [device for device in devices if device not in taken]
    given: dict[str, tuple[str, ...]] = {}
    for pod, count in wanting.items():
        if count <= len(free):
            given[pod], free = tuple(free[:count]), free[count:]
    return given


def visible(devices: Sequence[str], written: str | None) -> str:
    """CUDA_VISIBLE_DEVICES of a container that has these. What its manifest wrote there counts among its own."""
    if written is None:
        return ",".join(devices)
    chosen = [part.strip() for part in written.split(",")]
    if all(part.isdecimal() and int(part) < len(devices) for part in chosen):
        return ",".join(devices[int(part)] for part in chosen)
    return ",".join(devices)


def listed(text: str) -> tuple[str, ...]:
    """The devices that `nvidia-smi -L` lists, as CUDA_VISIBLE_DEVICES names them; of a GPU in parts (MIG), the parts.

    Whole GPUs go by their number: there are releases of vLLM that take nothing else.
    """
    found: list[tuple[str, list[str]]] = []
    for row in text.splitlines():
        if gpu := re.match(r"GPU (\d+): ", row):
            found.append((gpu[1], []))
        elif (part := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", row)) and found:
            found[-1][1].append(part[1])
    return tuple(device for number, parts in found for device in (parts or [number]))
