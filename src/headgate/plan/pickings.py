"""How each InferencePool's endpoints are to be picked, where somebody has written an EndpointPickerConfig for it.

Found, the first that there is: by the pool's annotation; by what the pool's own picker would be started with (Service →
Deployment → `--config-text`, or `--config-file` in a mounted ConfigMap); the one that stands among the manifests.
"""

import re
from collections.abc import Iterator, Mapping
from posixpath import normpath

from headgate.api.embedded import embedded, is_one
from headgate.api.inference import InferencePool
from headgate.api.picker import PICKER_CONFIG, Picking
from headgate.api.snapshot import Snapshot
from headgate.api.workload import ConfigMap, Container, PodSpec, Workload
from headgate.plan.conditions import Fault
from headgate.plan.lookup import Lookup

_FLAG = re.compile(r"--?(config-?(?:file|text))(?:=(.*))?", re.DOTALL | re.IGNORECASE)

Found = Picking | Fault | None


def gather_pickings(snapshot: Snapshot, look: Lookup) -> Mapping[str, Picking | Fault]:
    """By pool; one that is not there picks as by default."""
    everywhere = next((one.picking for one in snapshot.picker_configs), None)
    found = {key: _picking(pool, snapshot, look) or everywhere for key, pool in look.pools.items()}
    return {key: one for key, one in found.items() if one is not None}


def _picking(pool: InferencePool, snapshot: Snapshot, look: Lookup) -> Found:
    named = pool.meta.annotations.get(PICKER_CONFIG)
    if named:
        name, _, key = named.partition("/")
        return _in_config_map(look, pool.meta.namespace, name, key)
    for workload in _pickers(pool, snapshot, look):
        spec = workload.template.spec
        for container in spec.containers:
            found = _started_with(container, spec, pool.meta.namespace, look)
            if found is not None:
                return found
    return None


def _in_config_map(look: Lookup, namespace: str, name: str, key: str) -> Picking | Fault:
    config_map = look.config_maps.get(f"{namespace}/{name}")
    if config_map is None:
        return Fault("InvalidExtensionRef", f"ConfigMap {namespace}/{name} does not exist; picked as by default")
    keys = [key] if key else [one for one, text in config_map.data.items() if is_one(text)]
    if len(keys) != 1 or keys[0] not in config_map.data:
        told = f"ConfigMap {namespace}/{name} has {'no' if key or not keys else 'more than one'} EndpointPickerConfig"
        return Fault("InvalidExtensionRef", f"{told}{f' in {key}' if key else ''}; picked as by default")
    return _read(config_map, keys[0])


def _read(config_map: ConfigMap, key: str) -> Picking | Fault:
    picking, _ = embedded(config_map.data[key])
    told = f"ConfigMap {config_map.meta.key} has no EndpointPickerConfig in {key}; picked as by default"
    return picking or Fault("InvalidExtensionRef", told)


def _pickers(pool: InferencePool, snapshot: Snapshot, look: Lookup) -> Iterator[Workload]:
    """What runs behind the Service that the pool names."""
    service = look.services.get(f"{pool.meta.namespace}/{pool.picker.name}") if pool.picker is not None else None
    if service is None or not service.selector:
        return
    for workload in snapshot.workloads:
        labels = workload.template.labels
        if workload.meta.namespace == pool.meta.namespace and service.selector.items() <= labels.items():
            yield workload


def _started_with(container: Container, spec: PodSpec, namespace: str, look: Lookup) -> Found:
    words = (*container.command, *container.args)
    for place, word in enumerate(words):
        flag = _FLAG.fullmatch(word)
        if flag is None:
            continue
        value = flag[2] if flag[2] is not None else next(iter(words[place + 1 :]), "")
        if flag[1].lower().endswith("text"):
            return embedded(value)[0] or Fault("InvalidExtensionRef", _text_fault(value))
        return _mounted(value, container, spec, namespace, look)
    return None


def _text_fault(text: str) -> str:
    fault = next(iter(embedded(text)[1]), None)
    return f"its picker's --config-text can't be used{f': {fault.message}' if fault else ''}; picked as by default"


def _mounted(path: str, container: Container, spec: PodSpec, namespace: str, look: Lookup) -> Picking | Fault:
    """What the file at this path would say in the container."""
    volumes = {volume.name: volume.config_map for volume in spec.volumes}
    path = normpath(path)
    for mount in container.volume_mounts:
        at, volume = normpath(mount.mount_path), volumes.get(mount.name)
        if volume is None:
            continue
        if mount.sub_path and path == at:
            file = mount.sub_path
        elif not mount.sub_path and path.startswith(f"{at}/"):
            file = path[len(at) + 1 :]
        else:
            continue
        key = next((item.key for item in volume.items if item.path == file), file)
        return _in_config_map(look, namespace, volume.name, key)
    told = f"its picker's --config-file {path} stands in no ConfigMap; picked as by default"
    return Fault("InvalidExtensionRef", told)
