"""The objects that others refer to, by name, and what is known of them beyond what was written."""

from collections.abc import Mapping

from msgspec import Struct

from headgate.api.gateway import ReferenceGrant
from headgate.api.inference import InferencePool, PoolRef
from headgate.api.snapshot import Snapshot
from headgate.api.workload import ConfigMap, Secret, Service
from headgate.plan.conditions import Fault

POOL_GROUPS = ("inference.networking.k8s.io", "inference.networking.x-k8s.io")  # the first wins where both have a name
NAMESPACE_LABEL = "kubernetes.io/metadata.name"  # Kubernetes gives it to every namespace


class Finding(Struct, frozen=True):
    """What came of trying a Secret's certificate, or a bundle: a fault, or a note where it can be used.

    `last` is the Secret as it was when it had no fault: it is used on, so that a slip does not end what is served.
    """

    fault: str = ""
    note: str = ""
    last: Secret | None = None


Tried = tuple[str, str, str]  # a key of the object's data, its kind, and namespace/name
Findings = Mapping[Tried, Finding]


class Lookup(Struct, frozen=True):
    """Everything by `namespace/name`; `namespaces` has the labels of the namespaces that were declared.

    `secured` are the Services that a BackendTLSPolicy speaks of, each with a port's name, or "" for all of them.
    """

    pools: Mapping[str, InferencePool]
    services: Mapping[str, Service]
    secrets: Mapping[str, Secret]
    config_maps: Mapping[str, ConfigMap]
    namespaces: Mapping[str, Mapping[str, str]]
    grants: tuple[ReferenceGrant, ...]
    secured: frozenset[tuple[str, str]]
    findings: Findings


def look_up(snapshot: Snapshot, findings: Findings) -> Lookup:
    pools = sorted(snapshot.pools, key=lambda pool: (pool.meta.key, -POOL_GROUPS.index(pool.group)))
    return Lookup(
        pools={pool.meta.key: pool for pool in pools},
        services={service.meta.key: service for service in snapshot.services},
        secrets={secret.meta.key: secret for secret in snapshot.secrets},
        config_maps={config_map.meta.key: config_map for config_map in snapshot.config_maps},
        namespaces={namespace.meta.name: namespace.meta.labels for namespace in snapshot.namespaces},
        grants=snapshot.grants,
        secured=frozenset(
            (f"{policy.meta.namespace}/{target.name}", target.section_name)
            for policy in snapshot.tls_policies
            for target in policy.targets
            if (target.group, target.kind) == ("", "Service")
        ),
        findings=findings,
    )


def namespace_labels(look: Lookup, namespace: str) -> Mapping[str, str]:
    """Also of a namespace that no object declares: it has its name as a label."""
    return {**look.namespaces.get(namespace, {}), NAMESPACE_LABEL: namespace}


def pool_of(look: Lookup, ref: PoolRef, namespace: str) -> InferencePool | Fault:
    """The pool that an object of this namespace refers to; a fault `Pending` until there is one."""
    if ref.kind != "InferencePool" or ref.group not in ("", *POOL_GROUPS):
        told = f"poolRef: kind {ref.kind} of group {ref.group or 'core'} is not served; use an InferencePool"
        return Fault("Pending", told)
    name = f"{namespace}/{ref.name}"
    return look.pools.get(name) or Fault("Pending", f"InferencePool {name} does not exist")
