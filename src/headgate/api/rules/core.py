"""Rules of Service, ConfigMap and Secret (the API server's validation)."""

from collections.abc import Iterator

from headgate.api.embedded import embedded, inside, is_one
from headgate.api.fault import Fault, Path
from headgate.api.formats import is_ip
from headgate.api.meta import Meta
from headgate.api.rules.sameness import repeated
from headgate.api.texts import read
from headgate.api.written.core import ServiceSpec, WrittenConfigMap, WrittenSecret
from headgate.api.written.metadata import Spec

_MOST_BYTES = 1024 * 1024
NODE_PORTS = range(30000, 32768)
BBR_LABEL = "inference.networking.k8s.io/bbr-managed"


def service(_: Meta, written: Spec[ServiceSpec]) -> Iterator[Fault]:
    spec = written.spec
    path: Path = ("spec", "ports")
    headless = spec.cluster_ip == "None"
    if spec.type == "ExternalName":
        if not spec.external_name:
            yield Fault(("spec", "externalName"), "missing: write the DNS name that it stands for")
        elif is_ip(spec.external_name):
            yield Fault(("spec", "externalName"), f'"{spec.external_name}" is an IP address: write a DNS name')
    elif not spec.ports and not headless:
        yield Fault(path, "missing: write `ports:` with at least one `- port:`")
    if spec.cluster_ip and not headless and not is_ip(spec.cluster_ip):
        yield Fault(
            ("spec", "clusterIP"), f'"{spec.cluster_ip}" is no IP address: write `None` (headless), or remove it'
        )
    for i, port in enumerate(spec.ports):
        if len(spec.ports) > 1 and not port.name:
            yield Fault((*path, i, "name"), "missing: write a name for each port where there are several")
        if port.node_port and spec.type not in ("NodePort", "LoadBalancer"):
            yield Fault((*path, i, "nodePort"), f"type {spec.type} has none: write `type: NodePort`, or remove it")
        elif port.node_port and port.node_port not in NODE_PORTS:
            message = f"{port.node_port} is out of range: write a number from {NODE_PORTS[0]} to {NODE_PORTS[-1]}"
            yield Fault((*path, i, "nodePort"), message)
    names = [port.name or None for port in spec.ports]
    yield from repeated(names, path, ("name",), '"{value}" is the name of {first} too: give each port its own')
    ports = [(port.port, port.protocol) for port in spec.ports]
    yield from repeated(ports, path, ("port",), "the same port and protocol as {first}: remove one of the two")


def config_map(meta: Meta, written: WrittenConfigMap) -> Iterator[Fault]:
    for key in written.binary_data:
        if key in written.data:
            yield Fault(("binaryData", key), f"{key} stands in `data` too: keep one of them")
    size = sum(len(value.encode("utf-8", "replace")) for value in written.data.values())
    size += sum(map(len, written.binary_data.values()))
    if size > _MOST_BYTES:
        yield Fault(("data",), f"{size} bytes are too many: a ConfigMap holds at most {_MOST_BYTES}")
    if meta.labels.get(BBR_LABEL) == "true":
        yield from _base_model(written)
    for key, text in written.data.items():
        if is_one(text):
            yield from (inside(fault, key) for fault in embedded(text)[1])


def _base_model(written: WrittenConfigMap) -> Iterator[Fault]:
    """What body-based routing reads (ConfigMaps that are labelled for it)."""
    if not written.data.get("baseModel"):
        message = f"missing: the label {BBR_LABEL} makes this a list of adapters; write the name of their base model"
        yield Fault(("data", "baseModel"), message)
    if not _lists_names(written.data.get("adapters", "")):
        yield Fault(("data", "adapters"), "this is no list: write `adapters: |` and below it a line `- NAME` for each")


def _lists_names(text: str) -> bool:
    found = tuple(read(text))
    if len(found) > 1 or any(document.tree is None or document.faults for document in found):
        return False
    values = [document.tree.value for document in found if document.tree]
    return all(
        value is None or (isinstance(value, tuple) and all(isinstance(one.value, str) for one in value))
        for value in values
    )


def secret(meta: Meta, written: WrittenSecret) -> Iterator[Fault]:
    present = {*written.data, *written.string_data}
    for key in _REQUIRED_KEYS.get(written.type, ()):
        if key not in present:
            yield Fault(("data", key), f"missing: write it; a Secret of type {written.type} has it")
    account = "kubernetes.io/service-account.name"
    if written.type == "kubernetes.io/service-account-token" and account not in meta.annotations:
        message = f"missing: write the ServiceAccount that this {written.type} is for"
        yield Fault(("metadata", "annotations", account), message)
    size = sum(map(len, written.data.values())) + sum(
        len(v.encode("utf-8", "replace")) for v in written.string_data.values()
    )
    if size > _MOST_BYTES:
        yield Fault(("data",), f"{size} bytes are too many: a Secret holds at most {_MOST_BYTES}")


_REQUIRED_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
