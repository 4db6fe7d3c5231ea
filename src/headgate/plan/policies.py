"""Policies, each attached to one pool or to all ports of one Service; GKE's (networking.gke.io/v1) are read here."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec import Struct

from headgate.api.policy import BackendPolicy, HealthCheckPolicy
from headgate.api.snapshot import Snapshot
from headgate.plan.conditions import Fault, met, unmet
from headgate.plan.lookup import POOL_GROUPS, Lookup
from headgate.plan.origination import Originations, gather_originations
from headgate.plan.plan import Condition, HealthCheck, Status
from headgate.plan.precedence import age

Target = tuple[str, str]  # kind and namespace/name
Policy = TypeVar("Policy", HealthCheckPolicy, BackendPolicy)


class Policies(Struct, frozen=True):
    """What was attached, by what it was attached to."""

    health: Mapping[Target, HealthCheck]
    backend: Mapping[Target, BackendPolicy]
    tls: Originations


def gather_policies(snapshot: Snapshot, look: Lookup) -> tuple[Policies, list[Status]]:
    """The statuses are of GKE's policies; those of the others depend on routes (`origination_statuses`)."""
    health, health_statuses = _attach("HealthCheckPolicy", snapshot.health_policies, look)
    backend, backend_statuses = _attach("GCPBackendPolicy", snapshot.backend_policies, look)
    checks = {target: _health_check(policy) for target, policy in health.items()}
    tls = gather_originations(snapshot.tls_policies, look)
    return Policies(checks, backend, tls), health_statuses + backend_statuses


def _attach(kind: str, written: Iterable[Policy], look: Lookup) -> tuple[dict[Target, Policy], list[Status]]:
    """Of policies of one kind for one target the oldest is attached."""
    attached: dict[Target, Policy] = {}
    statuses: list[Status] = []
    for one in sorted(written, key=lambda one: age(one.meta)):
        target = _target(one, look)
        condition: Condition
        if isinstance(target, Fault):
            condition = unmet("Attached", target.reason, target.message)
        elif (owner := attached.setdefault(target, one)) is not one:
            told = f"{kind} {owner.meta.key} is older and has the same target; remove one"
            condition = unmet("Attached", "Conflicted", told)
        else:
            condition = met("Attached", message=_reading(one))
        statuses.append(Status(kind, one.meta.key, (condition,)))
    return attached, statuses


def _target(one: HealthCheckPolicy | BackendPolicy, look: Lookup) -> Target | Fault:
    ref, namespace = one.target, one.meta.namespace
    name = f"{namespace}/{ref.name}"
    if ref.namespace not in (None, "", namespace):
        return Fault(
            "TargetNotFound", f"targetRef.namespace is {ref.namespace}; a policy attaches in its own, {namespace}"
        )
    if (ref.group, ref.kind) == ("", "Service"):
        there = name in look.services
    elif ref.kind == "InferencePool" and ref.group in POOL_GROUPS:
        there = name in look.pools
    else:
        told = f"targetRef: kind {ref.kind} of group {ref.group or 'core'} is not served"
        return Fault("TargetNotFound", f"{told}; use Service, or InferencePool of group {POOL_GROUPS[0]}")
    return (ref.kind, name) if there else Fault("TargetNotFound", f"{ref.kind} {name} does not exist")


def _reading(one: HealthCheckPolicy | BackendPolicy) -> str:
    """What the policy is taken to mean where one machine can't do as it says."""
    if isinstance(one, HealthCheckPolicy) and one.check not in ("HTTP", "TCP"):
        done = "connecting only" if one.check == "GRPC" else "HTTP/1.1, by TLS where a BackendTLSPolicy says so"
        return f"a check of type {one.check} is done by {done}"
    return ""


def _health_check(policy: HealthCheckPolicy) -> HealthCheck:
    """Defaults as GKE's: every 5 s, 5 s to answer, 2 answers to change an endpoint's state."""
    return HealthCheck(
        path=policy.path,
        port=policy.port,
        interval_s=float(policy.check_interval_s or 5),
        timeout_s=float(policy.timeout_s or 5),
        healthy=policy.healthy_threshold or 2,
        unhealthy=policy.unhealthy_threshold or 2,
        tcp=policy.check in ("TCP", "GRPC"),
    )
