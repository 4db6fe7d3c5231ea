"""Fields that Kubernetes has and we do not read, level by level; and what is meant by some that it does not have.

From kubernetes/api (core/v1, apps/v1), the Gateway API's experimental channel and GKE's policies. A field that stands
in neither a type nor here is a mistake of the user's.
"""

from collections.abc import Mapping

from headgate.api import gateway, workload
from headgate.api.written import core, inference
from headgate.api.written.gateway import GatewaySpec, HTTPRouteSpec
from headgate.api.written.metadata import Named, ObjectMeta
from headgate.api.written.policy import BackendDefault, Target
from headgate.api.written.workload import VOLUME_SOURCES, DeploymentSpec, StatefulSetSpec


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ACCEPTED: Mapping[type, frozenset[str]] = {
    ObjectMeta: _names(
        "clusterName deletionGracePeriodSeconds deletionTimestamp finalizers generateName managedFields "
        "ownerReferences resourceVersion selfLink uid"
    ),
    Named: _names("apiVersion kind status"),
    GatewaySpec: _names("allowedListeners backendTLS defaultScope"),
    HTTPRouteSpec: _names("useDefaultGateways"),
    BackendDefault: _names("balancingMode capacityScalerPercent customMetrics dryRun scopes"),
    core.ServiceSpec: _names(
        "allocateLoadBalancerNodePorts clusterIPs externalIPs externalTrafficPolicy healthCheckNodePort "
        "internalTrafficPolicy ipFamilies ipFamilyPolicy ipFamily loadBalancerClass loadBalancerIP "
        "loadBalancerSourceRanges publishNotReadyAddresses sessionAffinity sessionAffinityConfig topologyKeys "
        "trafficDistribution"
    ),
    DeploymentSpec: _names("paused progressDeadlineSeconds revisionHistoryLimit"),
    StatefulSetSpec: _names("ordinals persistentVolumeClaimRetentionPolicy revisionHistoryLimit"),
    workload.PodSpec: _names(
        "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks "
        "ephemeralContainers evictionResponders hostAliases hostIPC hostNetwork hostPID hostUsers hostnameOverride "
        "imagePullSecrets nodeName os overhead preemptionPolicy priority priorityClassName readinessGates "
        "resourceClaims resources runtimeClassName schedulerName schedulingGates schedulingGroup securityContext "
        "serviceAccount setHostnameAsFQDN shareProcessNamespace subdomain tolerations topologySpreadConstraints "
        "workloadRef"
    ),
    workload.Container: _names(
        "imagePullPolicy resizePolicy restartPolicyRules securityContext stdin stdinOnce "
        "terminationMessagePath terminationMessagePolicy tty volumeDevices"
    ),
    workload.Resources: _names("claims"),
    workload.ContainerPort: _names("hostIP hostPort"),
    workload.VolumeMount: _names("bindMountOptions mountPropagation recursiveReadOnly subPathExpr"),
    workload.Lifecycle: _names("stopSignal"),
    workload.HttpGet: _names("protocol"),
    workload.GrpcCheck: _names("mode"),
    workload.EnvSource: _names("fileKeyRef"),
    workload.FieldRef: _names("apiVersion"),
    workload.Volume: VOLUME_SOURCES,
    workload.ConfigMapVolume: _names("defaultUser"),
    workload.SecretVolume: _names("defaultUser"),
    workload.KeyPath: _names("mode user"),
    workload.Projected: _names("defaultUser"),
    workload.Projection: _names("clusterTrustBundle downwardAPI podCertificate serviceAccountToken"),
}

# Members of our types that are not written but found out.
COMPUTED: Mapping[type, frozenset[str]] = {workload.Volume: _names("kind")}

# Levels that have one only of some fields, and whether they need one.
ONE_OF: Mapping[type, tuple[frozenset[str], bool]] = {
    workload.Volume: (VOLUME_SOURCES, False),
    workload.EnvSource: (_names("configMapKeyRef fieldRef fileKeyRef resourceFieldRef secretKeyRef"), True),
    workload.EnvFrom: (_names("configMapRef secretRef"), True),
    workload.Probe: (_names("exec grpc httpGet tcpSocket"), True),
    workload.Hook: (_names("exec httpGet sleep tcpSocket"), True),
    workload.Projection: (
        _names("clusterTrustBundle configMap downwardAPI podCertificate secret serviceAccountToken"),
        True,
    ),
}

# What to write for fields that belong to another version, another level or another habit; "*" stands for any name.
MEANT: Mapping[type, Mapping[str, str]] = {
    inference.PoolSpec: {
        "targetPortNumber": "v1 writes it `targetPorts: [{number: 8000}]`",
        "targetPort": "write `targetPorts: [{number: 8000}]`",
        "extensionRef": "v1 writes it `endpointPickerRef`, with `port: {number: 9002}`",
    },
    inference.PoolSpecAlpha: {
        "targetPorts": "v1alpha2 writes `targetPortNumber: 8000`; "
        "or write `apiVersion: inference.networking.k8s.io/v1`",
        "endpointPickerRef": "v1alpha2 writes it `extensionRef`, with `portNumber: 9002`; "
        "or write `apiVersion: inference.networking.k8s.io/v1`",
    },
    inference.PoolSelector: {
        "matchExpressions": "remove it, an InferencePool selects by `matchLabels` only",
        "*": "write it inside `matchLabels:`, as v1 does",
    },
    inference.EndpointPickerRef: {"portNumber": "v1 writes it `port: {number: 9002}`"},
    inference.ExtensionRef: {"port": "v1alpha2 writes it `portNumber: 9002`"},
    inference.ModelSpec: {
        "priority": "write `criticality: Critical`, `Standard` or `Sheddable`",
        "model": "write it `modelName`",
    },
    inference.ObjectiveSpec: {"criticality": "write `priority:` with a number, higher goes first"},
    gateway.LabelSelector: {"*": "write it inside `matchLabels:`"},
    gateway.RouteRule: {
        "path": "write it in a match: `matches: [{path: {type: PathPrefix, value: /}}]`",
        "host": "write it in `spec.hostnames`",
        "backends": "write it `backendRefs`",
        "timeout": "write it `timeouts: {request: 30s}`",
    },
    gateway.BackendRef: {
        "serviceName": "write it `name`",
        "servicePort": "write it `port`",
        "targetPort": "write it `port`: the Service's port",
    },
    gateway.ParentRef: {"section": "write it `sectionName`"},
    Target: {"sectionName": "a policy attaches to the whole object: remove it"},
    workload.EnvVar: {
        "secretKeyRef": "write it inside `valueFrom:`",
        "configMapKeyRef": "write it inside `valueFrom:`",
        "fieldRef": "write it inside `valueFrom:`",
    },
    workload.HttpGet: {"headers": "write it `httpHeaders`, a list of name and value"},
    workload.Container: {"limits": "write it inside `resources:`", "requests": "write it inside `resources:`"},
    workload.Resources: {"*": "write it inside `limits:`"},
    workload.Volume: {"mountPath": "write it in a container's `volumeMounts`"},
    workload.SecretVolume: {"name": "write it `secretName`"},
}
