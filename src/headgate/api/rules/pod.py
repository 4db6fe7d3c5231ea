"""Rules of a PodSpec: containers, ports, volumes and what refers to them."""

from collections.abc import Iterator

from headgate.api.fault import Fault, Path
from headgate.api.rules import container
from headgate.api.rules.sameness import repeated
from headgate.api.workload import ConfigMapVolume, PodSpec, SecretVolume, Volume


def pod_spec(spec: PodSpec, path: Path, claims: frozenset[str], runs_elsewhere: bool) -> Iterator[Fault]:
    """`claims`: the volumes that a StatefulSet adds. `runs_elsewhere`: no container has to be started."""
    if not spec.containers and not runs_elsewhere:
        yield Fault((*path, "containers"), "missing: write at least one container, with a name and an image")
    volumes = frozenset(volume.name for volume in spec.volumes if volume.name) | claims
    yield from _volumes(spec.volumes, (*path, "volumes"))
    names: dict[str, str] = {}
    for group, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for i, one in enumerate(containers):
            place = (*path, group, i)
            if one.name in names:
                message = f'"{one.name}" is the name of {names[one.name]} too: give each container its own'
                yield Fault((*place, "name"), message)
            names.setdefault(one.name, f"{group}[{i}]")
            stays = group == "containers" or one.restart_policy == "Always"
            yield from container.check(one, place, volumes, stays, runs_elsewhere)


def _volumes(volumes: tuple[Volume, ...], path: Path) -> Iterator[Fault]:
    names = [volume.name for volume in volumes]
    yield from repeated(names, path, ("name",), '"{value}" is the name of {first} too: give each volume its own')
    for i, volume in enumerate(volumes):
        place = (*path, i)
        for name, source in (("configMap", volume.config_map), ("secret", volume.secret)):
            if source:
                yield from _items(source, (*place, name))
        for j, projection in enumerate(volume.projected.sources if volume.projected else ()):
            for name, part in (("configMap", projection.config_map), ("secret", projection.secret)):
                if part:
                    yield from _items(part, (*place, "projected", "sources", j, name))


def _items(source: ConfigMapVolume | SecretVolume, path: Path) -> Iterator[Fault]:
    for i, item in enumerate(source.items):
        if item.path.startswith("/") or ".." in item.path.split("/"):
            message = f'"{item.path}" leads out of the volume: write a path below it, without a leading "/" and ".."'
            yield Fault((*path, "items", i, "path"), message)
