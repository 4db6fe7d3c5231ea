"""Core Kubernetes objects, the part of them that one machine can honour: Pods, what makes Pods, and what feeds them."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from headgate.api.formats import (
    ContainerResource,
    EnvName,
    HeaderName,
    Label,
    PortName,
    Quantity,
    ResourceName,
)
from headgate.api.gateway import LabelSelector
from headgate.api.meta import Meta, Name, Port

Seconds = Annotated[int, msgspec.Meta(ge=0)]
Mode = Annotated[int, msgspec.Meta(ge=0, le=0o777)]


class KeyRef(Struct, frozen=True, rename="camel"):
    name: Name
    key: Name
    optional: bool = False


class FieldRef(Struct, frozen=True, rename="camel"):
    field_path: str


class ResourceFieldRef(Struct, frozen=True, rename="camel"):
    resource: ContainerResource
    container_name: str = ""  # "": the container that has the variable
    divisor: Quantity = "1"


class EnvSource(Struct, frozen=True, rename="camel"):
    secret_key_ref: KeyRef | None = None
    config_map_key_ref: KeyRef | None = None
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None


class EnvVar(Struct, frozen=True, rename="camel"):
    name: EnvName
    value: str = ""
    value_from: EnvSource | None = None


class SourceRef(Struct, frozen=True, rename="camel"):
    name: Name
    optional: bool = False


class EnvFrom(Struct, frozen=True, rename="camel"):
    prefix: str = ""
    config_map_ref: SourceRef | None = None
    secret_ref: SourceRef | None = None


class ContainerPort(Struct, frozen=True, rename="camel"):
    container_port: Port
    name: PortName = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class HttpHeader(Struct, frozen=True, rename="camel"):
    name: HeaderName
    value: str


class HttpGet(Struct, frozen=True, rename="camel"):
    port: Port | PortName
    path: str = "/"
    host: str = ""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocket(Struct, frozen=True, rename="camel"):
    port: Port | PortName
    host: str = ""


class GrpcCheck(Struct, frozen=True, rename="camel"):
    port: Port
    service: str = ""


class Exec(Struct, frozen=True, rename="camel"):
    command: tuple[str, ...] = ()


class Probe(Struct, frozen=True, rename="camel"):
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: Exec | None = None
    grpc: GrpcCheck | None = None
    initial_delay_seconds: Seconds = 0
    period_seconds: Annotated[int, msgspec.Meta(ge=1)] = 10
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1)] = 1
    success_threshold: Annotated[int, msgspec.Meta(ge=1)] = 1
    failure_threshold: Annotated[int, msgspec.Meta(ge=1)] = 3
    termination_grace_period_seconds: Seconds | None = None


class Sleep(Struct, frozen=True, rename="camel"):
    seconds: Seconds


class Hook(Struct, frozen=True, rename="camel"):
    exec: Exec | None = None
    http_get: HttpGet | None = None
    sleep: Sleep | None = None
    tcp_socket: TcpSocket | None = None


class Lifecycle(Struct, frozen=True, rename="camel"):
    post_start: Hook | None = None
    pre_stop: Hook | None = None


class VolumeMount(Struct, frozen=True, rename="camel"):
    name: Name
    mount_path: Annotated[str, msgspec.Meta(min_length=1)]
    sub_path: str = ""
    read_only: bool = False


class Resources(Struct, frozen=True, rename="camel"):
    """Quantities as written, by resource (`cpu`, `memory`, `nvidia.com/gpu`)."""

    limits: Mapping[ResourceName, Quantity] = {}
    requests: Mapping[ResourceName, Quantity] = {}


class Container(Struct, frozen=True, rename="camel"):
    name: Label
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    volume_mounts: tuple[VolumeMount, ...] = ()
    resources: Resources = Resources()
    restart_policy: Literal["Always", "OnFailure", "Never"] | None = None  # `Always` on an init container: a sidecar


class KeyPath(Struct, frozen=True, rename="camel"):
    key: Name
    path: Annotated[str, msgspec.Meta(min_length=1)]


class ConfigMapVolume(Struct, frozen=True, rename="camel"):
    name: Name
    items: tuple[KeyPath, ...] = ()
    optional: bool = False
    default_mode: Mode | None = None


class SecretVolume(Struct, frozen=True, rename="camel"):
    secret_name: Name
    items: tuple[KeyPath, ...] = ()
    optional: bool = False
    default_mode: Mode | None = None


class HostPath(Struct, frozen=True, rename="camel"):
    path: Annotated[str, msgspec.Meta(min_length=1)]
    type: str = ""


class Projection(Struct, frozen=True, rename="camel"):
    config_map: ConfigMapVolume | None = None
    secret: ConfigMapVolume | None = None  # a projected secret says `name`, as a ConfigMap does


class Projected(Struct, frozen=True, rename="camel"):
    sources: tuple[Projection, ...] = ()
    default_mode: Mode | None = None


class Volume(Struct, frozen=True, rename="camel"):
    """A volume; `kind` names its source as written (`emptyDir`, `csi`, …), also one that we can't make here."""

    name: Label
    kind: str = "emptyDir"
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    host_path: HostPath | None = None
    projected: Projected | None = None


class PodSpec(Struct, frozen=True, rename="camel"):
    """`containers` is empty only in a Pod that says by its annotation where it already runs."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: Seconds = 30
    hostname: Label = ""
    service_account_name: str = ""
    node_selector: Mapping[str, str] = {}


class PodTemplate(Struct, frozen=True, rename="camel"):
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: PodSpec


class Workload(Struct, frozen=True):
    """A Deployment or a StatefulSet: so many Pods of one template."""

    meta: Meta
    kind: Literal["Deployment", "StatefulSet"]
    selector: LabelSelector
    template: PodTemplate
    replicas: Annotated[int, msgspec.Meta(ge=0)] = 1
    max_unavailable: int | str = "25%"
    max_surge: int | str = "25%"
    recreate: bool = False  # strategy type Recreate
    min_ready_seconds: Seconds = 0  # a Pod counts as available after being ready for so long
    parallel: bool = False  # podManagementPolicy Parallel of a StatefulSet
    service_name: str = ""  # StatefulSet's


class Pod(Struct, frozen=True):
    """A Pod as written. With the annotation `headgate.dev/address` it is a model server that already runs."""

    meta: Meta
    spec: PodSpec | None  # None where only an address was given


class ServicePort(Struct, frozen=True, rename="camel"):
    port: Port
    target_port: Port | PortName | None = None  # None: the same as `port`
    name: Label = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    app_protocol: Annotated[str, msgspec.Meta(max_length=317)] = ""
    node_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None  # 0, as None: there is none


class Service(Struct, frozen=True):
    meta: Meta
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...]
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ip: str = ""
    external_name: str = ""


class ConfigMap(Struct, frozen=True):
    meta: Meta
    data: Mapping[str, str]
    binary_data: Mapping[str, bytes] = {}


class Secret(Struct, frozen=True):
    """`data` is decoded: what was base64 in `data` and what was plain in `stringData`, together."""

    meta: Meta
    data: Mapping[str, bytes]
    type: str = "Opaque"


class Namespace(Struct, frozen=True):
    meta: Meta
