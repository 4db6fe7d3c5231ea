"""Rules of one container: image, ports, environment, mounts, probes and hooks."""

from collections.abc import Iterator

from headgate.api.fault import Fault, Path
from headgate.api.rules.sameness import repeated
from headgate.api.workload import Container, EnvFrom, EnvVar, Hook, Probe

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_HANDLERS = "httpGet, tcpSocket, exec or grpc"


def check(one: Container, path: Path, volumes: frozenset[str], stays: bool, runs_elsewhere: bool) -> Iterator[Fault]:
    """`stays`: it runs as long as its Pod (an init container does only with `restartPolicy: Always`)."""
    if not one.image and not runs_elsewhere:
        yield Fault((*path, "image"), "missing: write the image to run, such as vllm/vllm-openai:v0.8.5")
    elif one.image != one.image.strip():
        yield Fault((*path, "image"), f'"{one.image}" begins or ends with a blank: remove it')
    names = [port.name or None for port in one.ports]
    yield from repeated(names, (*path, "ports"), ("name",), '"{value}" is the name of {first} too: give each its own')
    for i, variable in enumerate(one.env):
        yield from _env(variable, (*path, "env", i))
    for i, source in enumerate(one.env_from):
        yield from _env_from(source, (*path, "envFrom", i))
    yield from _mounts(one, (*path, "volumeMounts"), volumes)
    yield from _probes(one, path, stays)
    for name, hook in (("postStart", one.lifecycle.post_start), ("preStop", one.lifecycle.pre_stop)):
        if hook:
            yield from _hook(hook, (*path, "lifecycle", name))
            if not stays:
                yield Fault((*path, "lifecycle", name), _NOT_FOR_INIT)


_NOT_FOR_INIT = "an init container that ends has none: write `restartPolicy: Always` (a sidecar), or remove it"


def _env(variable: EnvVar, path: Path) -> Iterator[Fault]:
    source = variable.value_from
    if source is None:
        return
    if variable.value:
        yield Fault((*path, "valueFrom"), "`value` is set too: keep one of the two")
    parts = (source.secret_key_ref, source.config_map_key_ref, source.field_ref, source.resource_field_ref or None)
    given = [part for part in parts if part is not None]
    if len(given) > 1:
        yield Fault((*path, "valueFrom"), "it names several sources: keep one of them")


def _env_from(source: EnvFrom, path: Path) -> Iterator[Fault]:
    if source.config_map_ref and source.secret_ref:
        yield Fault(path, "it names a ConfigMap and a Secret: write each as an item of its own")
    elif not source.config_map_ref and not source.secret_ref:
        yield Fault(path, "it names no source: write `configMapRef:` or `secretRef:` with a name")


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


def _probes(one: Container, path: Path, stays: bool) -> Iterator[Fault]:
    for name, probe in zip(_PROBES, (one.startup_probe, one.readiness_probe, one.liveness_probe), strict=True):
        if probe is None:
            continue
        place = (*path, name)
        if not stays:
            yield Fault(place, _NOT_FOR_INIT)
        handlers = (probe.http_get, probe.tcp_socket, probe.exec, probe.grpc)
        given = sum(handler is not None for handler in handlers)
        if not given:
            yield Fault(place, f"it checks nothing: write one of {_HANDLERS}")
        elif given > 1:
            yield Fault(place, f"it checks in {given} ways: keep one of {_HANDLERS}")
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


def _hook(hook: Hook, path: Path) -> Iterator[Fault]:
    given = sum(part is not None for part in (hook.exec, hook.http_get, hook.sleep, hook.tcp_socket))
    if not given:
        yield Fault(path, "it does nothing: write one of exec, httpGet or sleep")
    elif given > 1:
        yield Fault(path, f"it does {given} things: keep one of exec, httpGet or sleep")
