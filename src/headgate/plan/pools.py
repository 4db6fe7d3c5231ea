"""InferencePools and Services, read into the plan's pools."""

from collections.abc import Iterable, Mapping

from headgate.api.inference import INCLUDE_USAGE, InferencePool
from headgate.api.picker import Picking
from headgate.api.workload import Service, ServicePort
from headgate.plan.backends import APP_PROTOCOLS
from headgate.plan.conditions import Fault, met, unknown, unmet
from headgate.plan.lookup import Lookup
from headgate.plan.plan import Condition, Model, ModelRule, ParentStatus, Pool, Status
from headgate.plan.policies import Policies


def inference_pool(
    pool: InferencePool,
    models: Mapping[str, Model],
    rules: tuple[ModelRule, ...],
    objectives: Mapping[str, int],
    policies: Policies,
    picking: Picking | Fault | None,
) -> Pool:
    target = ("InferencePool", pool.meta.key)
    policy = policies.backend.get(target)
    return Pool(
        name=pool.meta.key,
        namespace=pool.meta.namespace,
        selector=pool.selector,
        ports=pool.target_ports,
        app_protocol=pool.app_protocol,
        fail_open=pool.picker is not None and pool.picker.failure_mode == "FailOpen",
        models=models,
        rules=rules,
        objectives=objectives,
        health=policies.health.get(target),
        timeout_s=_float(policy.timeout_s) if policy else None,
        max_rate_per_endpoint=policy.max_rate_per_endpoint if policy else None,
        tls=policies.tls.of_pool(pool.meta.key),
        include_usage=pool.meta.annotations.get(INCLUDE_USAGE) != "false",
        picking=picking if isinstance(picking, Picking) else None,
    )


def service_pool(service: Service, port: ServicePort, policies: Policies) -> Pool:
    """One port of a Service; its policies are those of the Service."""
    target = ("Service", service.meta.key)
    policy = policies.backend.get(target)
    return Pool(
        name=f"{service.meta.key}:{port.port}",
        namespace=service.meta.namespace,
        selector=service.selector,
        ports=(port.target_port or port.port,),
        kind="service",
        app_protocol=APP_PROTOCOLS[port.app_protocol.lower()],
        health=policies.health.get(target),
        timeout_s=_float(policy.timeout_s) if policy else None,
        max_rate_per_endpoint=policy.max_rate_per_endpoint if policy else None,
        tls=policies.tls.of_port(service.meta.key, port),
    )


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)


def pool_statuses(
    pools: Iterable[InferencePool],
    look: Lookup,
    parents: Mapping[str, Mapping[str, bool]],
    pickings: Mapping[str, Picking | Fault],
) -> list[Status]:
    """`parents`: for each pool the gateways whose routes refer to it, and whether any such route was accepted."""
    return [
        _status(pool, look, parents.get(pool.meta.key, {}), pickings.get(pool.meta.key))
        for pool in sorted(pools, key=_by_name)
    ]


def _by_name(pool: InferencePool) -> tuple[str, str]:
    return (pool.meta.key, pool.group)


def _status(pool: InferencePool, look: Lookup, gateways: Mapping[str, bool], picking: Picking | Fault | None) -> Status:
    used = look.pools[pool.meta.key]
    if used is not pool:
        told = f"the pool of this name in group {used.group} is used instead; remove one"
        return Status("InferencePool", pool.meta.key, (unmet("Accepted", "Conflicted", told),))
    parents = tuple(
        ParentStatus(f"Gateway {gateway}", (_accepted(accepted), _resolved_refs(pool, picking)))
        for gateway, accepted in sorted(gateways.items())
    )
    if not parents and pool.version == "v1alpha2":
        # The default that this version's CRD writes into every new pool; v1 has none.
        waiting = unknown("Accepted", "Pending", "no route refers to this pool")
        parents = (ParentStatus("Status default", (waiting,)),)
    return Status("InferencePool", pool.meta.key, parents=parents)


def _accepted(accepted: bool) -> Condition:
    if accepted:
        return met("Accepted")
    return unmet("Accepted", "HTTPRouteNotAccepted", "no HTTPRoute that refers to this pool was accepted; see theirs")


def _resolved_refs(pool: InferencePool, picking: Picking | Fault | None) -> Condition:
    """No picker needs to be there: the gateway picks the endpoints itself, by the same loads."""
    if isinstance(picking, Fault):
        return unmet("ResolvedRefs", picking.reason, picking.message)
    if pool.picker is None:
        return met("ResolvedRefs")
    told = "the gateway picks endpoints itself"
    if (pool.picker.group, pool.picker.kind) != ("", "Service"):
        kind = f"{pool.picker.kind} ({pool.picker.group or 'core'})"
        return unmet("ResolvedRefs", "InvalidExtensionRef", f"an endpoint picker of kind {kind} is not known; {told}")
    return met("ResolvedRefs", message=f"Service {pool.meta.namespace}/{pool.picker.name} is not asked: {told}")
