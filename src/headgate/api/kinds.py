"""The kinds that are read: in which apiVersions, by which shape and rules, onto which shelf of the Snapshot."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from headgate.api.embedded import VERSIONS
from headgate.api.fault import Fault, Path
from headgate.api.formats import Label, ServiceName, Subdomain
from headgate.api.meta import Meta
from headgate.api.rules import core as core_rules
from headgate.api.rules import gateway as gateway_rules
from headgate.api.rules import inference as inference_rules
from headgate.api.rules import picker as picker_rules
from headgate.api.rules import policy as policy_rules
from headgate.api.rules import route as route_rules
from headgate.api.rules import security as security_rules
from headgate.api.rules import tls as tls_rules
from headgate.api.rules import workload as workload_rules
from headgate.api.tree import Tree
from headgate.api.written import core, gateway, inference, picker, policy, security, tls, workload
from headgate.api.written.metadata import Spec

Read = Callable[[Meta, Any, Tree], Any]
Check = Callable[[Meta, Any], Iterator[Fault]]


def _no_rules(_: Meta, __: Any) -> Iterator[Fault]:
    return iter(())


class Version(Struct, frozen=True):
    """How a kind is written in one apiVersion."""

    shape: Any
    read: Read
    check: Check = _no_rules


class Fixed(Struct, frozen=True):
    """A field that a server lets nobody change: where it is written, and where it is in the type."""

    path: Path
    get: Callable[[Any], object]


class Kind(Struct, frozen=True):
    shelf: str  # the Snapshot's field
    versions: Mapping[str, Version]  # by apiVersion, the one to write first
    name: Any = Subdomain  # the form of metadata.name
    namespaced: bool = True
    fixed: tuple[Fixed, ...] = ()
    nameless: bool = False  # it is no object of a cluster: metadata may be missing
    settled: bool = False  # a server's own rules hold, and may be others than these: what it has taken is right


_GATEWAY = ("gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1")
_TLS_POLICY = ("gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha3")
_X = "inference.networking.x-k8s.io"
_SELECTOR = Fixed(("spec", "selector"), lambda workload: workload.selector)


def _versions(names: tuple[str, ...], shape: Any, read: Read, check: Check = _no_rules) -> dict[str, Version]:
    return dict.fromkeys(names, Version(shape, read, check))


KINDS: Mapping[str, Kind] = {
    "GatewayClass": Kind(
        "gateway_classes",
        _versions(_GATEWAY, Spec[gateway.GatewayClassSpec], gateway.gateway_class),
        namespaced=False,
        fixed=(Fixed(("spec", "controllerName"), lambda gateway_class: gateway_class.controller_name),),
    ),
    "Gateway": Kind("gateways", _versions(_GATEWAY, Spec[gateway.GatewaySpec], gateway.gateway, gateway_rules.gateway)),
    "HTTPRoute": Kind(
        "routes", _versions(_GATEWAY, Spec[gateway.HTTPRouteSpec], gateway.http_route, route_rules.http_route)
    ),
    "ReferenceGrant": Kind(
        "grants", _versions(_GATEWAY[::-1], Spec[gateway.ReferenceGrantSpec], gateway.reference_grant)
    ),
    "InferencePool": Kind(
        "pools",
        {
            "inference.networking.k8s.io/v1": Version(
                Spec[inference.PoolSpec], inference.pool_v1, inference_rules.pool_v1
            ),
            f"{_X}/v1alpha2": Version(Spec[inference.PoolSpecAlpha], inference.pool_v1alpha2),
        },
    ),
    "InferenceModel": Kind(
        "models",
        {f"{_X}/v1alpha2": Version(Spec[inference.ModelSpec], inference.model, inference_rules.model)},
        fixed=(Fixed(("spec", "modelName"), lambda model: model.model_name),),
    ),
    "InferenceObjective": Kind(
        "objectives",
        {
            f"{group}/v1alpha2": Version(
                Spec[inference.ObjectiveSpec], inference.objective(group), inference_rules.objective
            )
            for group in (_X, "llm-d.ai")
        },
    ),
    "InferenceModelRewrite": Kind(
        "rewrites",
        {
            f"{group}/v1alpha2": Version(Spec[inference.RewriteSpec], inference.rewrite(group), inference_rules.rewrite)
            for group in (_X, "llm-d.ai")
        },
    ),
    "EndpointPickerConfig": Kind(
        "picker_configs",
        _versions(VERSIONS, picker.WrittenPickerConfig, picker.picker_config, picker_rules.picker_config),
        nameless=True,
    ),
    "Service": Kind(
        "services",
        _versions(("v1",), Spec[core.ServiceSpec], core.service, core_rules.service),
        name=ServiceName,
        settled=True,
    ),
    "Deployment": Kind(
        "workloads",
        _versions(("apps/v1",), Spec[workload.DeploymentSpec], workload.deployment, workload_rules.deployment),
        fixed=(_SELECTOR,),
        settled=True,
    ),
    "StatefulSet": Kind(
        "workloads",
        _versions(("apps/v1",), Spec[workload.StatefulSetSpec], workload.stateful_set, workload_rules.stateful_set),
        fixed=(_SELECTOR, Fixed(("spec", "serviceName"), lambda workload: workload.service_name)),
        settled=True,
    ),
    "Pod": Kind("pods", _versions(("v1",), workload.WrittenPod, workload.pod, workload_rules.pod)),
    "ConfigMap": Kind("config_maps", _versions(("v1",), core.WrittenConfigMap, core.config_map, core_rules.config_map)),
    "Secret": Kind(
        "secrets",
        _versions(("v1",), core.WrittenSecret, core.secret, core_rules.secret),
        fixed=(Fixed(("type",), lambda secret: secret.type),),
        settled=True,
    ),
    "Namespace": Kind(
        "namespaces",
        _versions(("v1",), core.WrittenNamespace, core.namespace),
        name=Label,
        namespaced=False,
    ),
    "HealthCheckPolicy": Kind(
        "health_policies",
        _versions(("networking.gke.io/v1",), Spec[policy.HealthSpec], policy.health_check, policy_rules.health_check),
    ),
    "GCPBackendPolicy": Kind(
        "backend_policies",
        _versions(("networking.gke.io/v1",), Spec[policy.BackendSpec], policy.backend, policy_rules.backend),
    ),
    "BackendTLSPolicy": Kind(
        "tls_policies", _versions(_TLS_POLICY, Spec[tls.BackendTLSSpec], tls.backend_tls, tls_rules.backend_tls)
    ),
    "SecurityPolicy": Kind(
        "security_policies",
        _versions(
            ("gateway.envoyproxy.io/v1alpha1",), Spec[security.SecuritySpec], security.security, security_rules.security
        ),
    ),
}

# Groups of others that have kinds of the same names: theirs mean nothing here.
FOREIGN = ("networking.istio.io", "serving.knative.dev", "networking.internal.knative.dev", "getambassador.io")

# Kinds of the groups that we read from which are real but mean nothing on one machine; none of them is a typo of ours.
OTHERS = frozenset(
    {
        "Backend",
        "BackendTrafficPolicy",
        "ClientTrafficPolicy",
        "ControllerRevision",
        "DaemonSet",
        "Endpoints",
        "EnvoyExtensionPolicy",
        "EnvoyPatchPolicy",
        "EnvoyProxy",
        "Event",
        "GCPAuthzPolicy",
        "GCPGatewayPolicy",
        "GCPRoutingExtension",
        "GCPSessionAffinityFilter",
        "GCPSessionAffinityPolicy",
        "GCPTrafficDistributionPolicy",
        "GCPTrafficExtension",
        "GRPCRoute",
        "HTTPRouteFilter",
        "InferencePoolImport",
        "LimitRange",
        "ListenerSet",
        "Node",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "PodTemplate",
        "ReplicaSet",
        "ReplicationController",
        "ResourceQuota",
        "ServiceAccount",
        "TCPRoute",
        "TLSRoute",
        "UDPRoute",
    }
)


def group(api_version: str) -> str:
    """The API group of an apiVersion; "" for the core's `v1`."""
    return api_version.rpartition("/")[0]


GROUPS = frozenset(group(version) for kind in KINDS.values() for version in kind.versions)
