"""Everything that the user wrote, as typed objects: the one value that leaves this package."""

from msgspec import Struct

from headgate.api.gateway import Gateway, GatewayClass, HTTPRoute, ReferenceGrant
from headgate.api.inference import InferenceModel, InferenceModelRewrite, InferenceObjective, InferencePool
from headgate.api.meta import Where
from headgate.api.picker import PickerConfig
from headgate.api.policy import BackendPolicy, HealthCheckPolicy
from headgate.api.security import SecurityPolicy
from headgate.api.tls import BackendTLSPolicy
from headgate.api.workload import ConfigMap, Namespace, Pod, Secret, Service, Workload


class Ignored(Struct, frozen=True):
    """An object that is accepted and means nothing on one machine."""

    kind: str
    name: str  # namespace/name
    where: Where


class Snapshot(Struct, frozen=True):
    """All objects, each kind sorted by namespace/name: the order of the files does not show."""

    gateway_classes: tuple[GatewayClass, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    routes: tuple[HTTPRoute, ...] = ()
    grants: tuple[ReferenceGrant, ...] = ()
    pools: tuple[InferencePool, ...] = ()
    models: tuple[InferenceModel, ...] = ()
    objectives: tuple[InferenceObjective, ...] = ()
    rewrites: tuple[InferenceModelRewrite, ...] = ()
    picker_configs: tuple[PickerConfig, ...] = ()
    services: tuple[Service, ...] = ()
    workloads: tuple[Workload, ...] = ()
    pods: tuple[Pod, ...] = ()
    config_maps: tuple[ConfigMap, ...] = ()
    secrets: tuple[Secret, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    health_policies: tuple[HealthCheckPolicy, ...] = ()
    security_policies: tuple[SecurityPolicy, ...] = ()
    backend_policies: tuple[BackendPolicy, ...] = ()
    tls_policies: tuple[BackendTLSPolicy, ...] = ()
    ignored: tuple[Ignored, ...] = ()
