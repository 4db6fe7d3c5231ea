"""Service, ConfigMap, Secret and Namespace."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from headgate.api.formats import Base64, DataKey, LabelKey, LabelValue, SecretText
from headgate.api.meta import Meta
from headgate.api.tree import Tree
from headgate.api.workload import ConfigMap, Namespace, Secret, Service, ServicePort
from headgate.api.written.metadata import Spec


class ServiceSpec(Struct, frozen=True, rename="camel"):
    selector: Mapping[LabelKey, LabelValue] = {}
    ports: tuple[ServicePort, ...] = ()
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    external_name: str = ""


class WrittenConfigMap(Struct, frozen=True, rename="camel"):
    data: Mapping[DataKey, str] = {}
    binary_data: Mapping[DataKey, Base64] = {}
    immutable: bool = False


class WrittenSecret(Struct, frozen=True, rename="camel"):
    data: Mapping[DataKey, Base64] = {}
    string_data: Mapping[DataKey, SecretText] = {}
    type: str = "Opaque"
    immutable: bool = False


class WrittenNamespace(Struct, frozen=True):
    spec: Any = None


def service(meta: Meta, written: Spec[ServiceSpec], _: Tree) -> Service:
    spec = written.spec
    return Service(meta, spec.selector, spec.ports, spec.type, spec.cluster_ip, spec.external_name)


def config_map(meta: Meta, written: WrittenConfigMap, _: Tree) -> ConfigMap:
    return ConfigMap(meta, written.data, written.binary_data)


def secret(meta: Meta, written: WrittenSecret, _: Tree) -> Secret:
    plain = {key: value.encode("utf-8", "replace") for key, value in written.string_data.items()}
    return Secret(meta, {**written.data, **plain}, written.type)


def namespace(meta: Meta, _: WrittenNamespace, __: Tree) -> Namespace:
    return Namespace(meta)
