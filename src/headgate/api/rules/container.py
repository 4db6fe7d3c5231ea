"""Rules of one container: image, ports, environment, mounts, resources, probes and hooks."""

from collections.abc import Iterator

from headgate.api.fault import Fault, Path
from headgate.api.formats import amount
from headgate.api.rules.sameness import repeated
from headgate.api.workload import Container, Probe, Resources

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def check(one: Container, path: Path, volumes: frozenset[str], stays: bool, runs_elsewhere: bool) -> Iterator[Fault]:
    """`stays`: it runs as long as its Pod (an init container does only with `restartPolicy: Always`)."""
    if not one.image and not runs_elsewhere:
        yield Fault((*path, "image"), "missing: write the image to run, such as vllm/vllm-openai:v0.8.5")
    elif one.image != one.image.strip():
        yield Fault((*path, "image"), f'"{one.image}" begins or ends with a blank: remove it')
    names = [port.name or None for port in one.ports]
    yield from repeated(names, (*path, "ports"), ("name",), '"{value}" is the name of {first} too: give each its own')
    for i, variable in enumerate(one.env):
        if variable.value and variable.value_from:
            yield Fault((*path, "env", i, "valueFrom"), "`value` is set too: keep one of the two")
    yield from _mounts(one, (*path, "volumeMounts"), volumes)
    yield from _resources(one.resources, (*path, "resources"))
    yield from _probes(one, path, stays)
    for name, hook in (("postStart", one.lifecycle.post_start), ("preStop", one.lifecycle.pre_stop)):
        if hook and not stays:
            yield Fault((*path, "lifecycle", name), _NOT_FOR_INIT)


_NOT_FOR_INIT = "an init container that ends has none: write `restartPolicy: Always` (a sidecar), or remove it"


def _mounts(one: Container, path: Path, volumes: frozenset[str]) -> Iterator[Fault]:
    for i, mount in enumerate(one.volume_mounts):
        if mount.name not in volumes:
            known = f"write one of {', '.join(sorted(volumes))}, or add it to" if volumes else "add it to"
            yield Fault((*path, i, "name"), f'there is no volume "{mount.name}": {known} the Pod\'s `volumes`')
        if ":" in mount.mount_path:
            yield Fault((*path, i, "mountPath"), f'"{mount.mount_path}" contains ":": write a path without')
        if mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/"):
            message = f'"{mount.sub_path}" leads out of the volume: write a path below it, without "/" first and ".."'
            yield Fault((*path, i, "subPath"), message)
    paths = [mount.mount_path for mount in one.volume_mounts]
    yield from repeated(paths, path, ("mountPath",), '"{value}" is taken by {first}: mount each volume at its own path')


def _resources(of: Resources, path: Path) -> Iterator[Fault]:
    """Kubernetes has less than a request to give for cpu and memory only; devices come whole, and only by a limit."""
    for group, quantities in (("limits", of.limits), ("requests", of.requests)):
        for name, quantity in quantities.items():
            found = amount(quantity)
            if found is not None and (found < 0 or ("/" in name and found.denominator != 1)):
                yield Fault((*path, group, name), f"{quantity} can't be had: write a whole number, such as 1")
    for name, quantity in of.requests.items():
        limit = of.limits.get(name)
        if limit is None:
            if "/" in name:
                yield Fault((*path, "limits", name), f"missing: write {quantity}, as in `requests`")
            continue
        asked, most = amount(quantity), amount(limit)
        if asked is None or most is None or asked == most:
            continue
        if "/" in name:
            yield Fault((*path, "limits", name), f"{limit}, and `requests` has {quantity}: write the same in both")
        elif asked > most:
            message = f"{quantity} is more than the limit of {limit}: write at most that, or raise the limit"
            yield Fault((*path, "requests", name), message)


def _probes(one: Container, path: Path, stays: bool) -> Iterator[Fault]:
    for name, probe in zip(_PROBES, (one.startup_probe, one.readiness_probe, one.liveness_probe), strict=True):
        if probe is None:
            continue
        place = (*path, name)
        if not stays:
            yield Fault(place, _NOT_FOR_INIT)
        if name != "readinessProbe" and probe.success_threshold != 1:
            yield Fault(
                (*place, "successThreshold"), f"{probe.success_threshold} is allowed for readiness only: write 1"
            )
        if name == "readinessProbe" and probe.termination_grace_period_seconds is not None:
            message = "a readiness probe ends nothing: write it in the livenessProbe, or remove it"
            yield Fault((*place, "terminationGracePeriodSeconds"), message)
        yield from _probe_port(one, probe, place)


def _probe_port(one: Container, probe: Probe, path: Path) -> Iterator[Fault]:
    for name, handler in (("httpGet", probe.http_get), ("tcpSocket", probe.tcp_socket)):
        if handler is not None and isinstance(handler.port, str):
            names = [port.name for port in one.ports if port.name]
            if handler.port not in names:
                known = f"write one of {', '.join(names)}" if names else "write its number, or name it in `ports`"
                yield Fault((*path, name, "port"), f'the container has no port "{handler.port}": {known}', "warning")
