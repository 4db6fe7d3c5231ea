"""BackendTLSPolicies: TLS towards the endpoints of a pool, or of a Service's ports (Gateway API: BackendTLSPolicy).

Where a policy can't be followed, no connection is made at all: plain text is never what was meant.
"""

import hashlib
from collections.abc import Iterable, Mapping

from msgspec import Struct

from headgate.api.tls import BackendTLSPolicy, PolicyTarget
from headgate.api.workload import ServicePort
from headgate.plan.certificates import Trusted, trust_local
from headgate.plan.conditions import Fault, judge, together
from headgate.plan.lookup import POOL_GROUPS, Lookup
from headgate.plan.plan import Condition, ParentStatus, Status
from headgate.plan.precedence import age
from headgate.plan.tls import Origination

_SYSTEM = "System"
_EVERYWHERE = ""  # in place of a port's name

Target = tuple[str, str, str]  # kind, namespace/name, and a port's name or _EVERYWHERE


class Judged(Struct, frozen=True):
    """A policy, the pools of the plan that it speaks of, and its conditions."""

    policy: BackendTLSPolicy
    pools: frozenset[str]
    conditions: tuple[Condition, ...]


class Originations(Struct, frozen=True):
    """What was attached, by target, and all policies judged."""

    attached: Mapping[Target, Origination] = {}
    judged: tuple[Judged, ...] = ()

    def of_pool(self, name: str) -> Origination | None:
        return self.attached.get(("InferencePool", name, _EVERYWHERE))

    def of_port(self, service: str, port: ServicePort) -> Origination | None:
        """A policy for one port counts more than one for the whole Service."""
        named = self.attached.get(("Service", service, port.name)) if port.name else None
        return named or self.attached.get(("Service", service, _EVERYWHERE))


def gather_originations(written: Iterable[BackendTLSPolicy], look: Lookup) -> Originations:
    """Of policies for one target the oldest is attached."""
    owners: dict[Target, str] = {}
    attached: dict[Target, Origination] = {}
    judged: list[Judged] = []
    for one in sorted(written, key=lambda one: age(one.meta)):
        trusted = trust_local(one.validation.ca_certificate_refs, one.meta.namespace, look)
        untrusted = _untrusted(one, trusted)
        origination = _origination(one, trusted, untrusted)
        pools: set[str] = set()
        faults: list[Fault] = []
        for ref in one.targets:
            target = _target(ref, one.meta.namespace, look)
            if isinstance(target, Fault):
                faults.append(target)
                continue
            pools |= _pools(target, look)
            owner = owners.setdefault(target, one.meta.key)
            if owner == one.meta.key:
                attached[target] = origination
            else:
                told = f"BackendTLSPolicy {owner} is older and has the same target; remove one"
                faults.append(Fault("Conflicted", told))
        conditions = _conditions(one, faults, untrusted, trusted)
        judged.append(Judged(one, frozenset(pools), conditions))
    return Originations(attached, tuple(judged))


def _target(ref: PolicyTarget, namespace: str, look: Lookup) -> Target | Fault:
    name = f"{namespace}/{ref.name}"
    if ref.kind == "InferencePool" and ref.group in POOL_GROUPS:
        if ref.section_name:
            return Fault("Invalid", f"{ref.kind} {name}: its ports have no names; remove sectionName")
        there = name in look.pools
    elif (ref.group, ref.kind) == ("", "Service"):
        service = look.services.get(name)
        there = service is not None
        names = [port.name for port in service.ports if port.protocol == "TCP"] if service else []
        if there and ref.section_name and ref.section_name not in names:
            known = ", ".join(filter(None, names)) or "none that has a name"
            return Fault("TargetNotFound", f"Service {name} has no TCP port {ref.section_name}; its ports: {known}")
    else:
        told = f"targetRefs: kind {ref.kind} of group {ref.group or 'core'} is not served"
        return Fault("Invalid", f"{told}; use Service, or InferencePool of group {POOL_GROUPS[0]}")
    return (ref.kind, name, ref.section_name) if there else Fault("TargetNotFound", f"{ref.kind} {name} does not exist")


def _pools(target: Target, look: Lookup) -> set[str]:
    kind, name, section = target
    if kind == "InferencePool":
        return {name}
    return {f"{name}:{port.port}" for port in look.services[name].ports if section in (_EVERYWHERE, port.name)}


def _untrusted(one: BackendTLSPolicy, trusted: Trusted) -> Fault | None:
    """Why nobody can be trusted."""
    well_known = one.validation.well_known
    if well_known and well_known != _SYSTEM:
        return Fault("Invalid", f"wellKnownCACertificates: {well_known} is not known; write {_SYSTEM}")
    if not well_known and trusted.authorities is None:
        return Fault("NoValidCACertificate", together(fault.message for fault in trusted.faults))
    return None


def _origination(one: BackendTLSPolicy, trusted: Trusted, untrusted: Fault | None) -> Origination:
    validation, authorities = one.validation, trusted.authorities
    names = tuple(name.hostname.lower() for name in validation.subject_alt_names if name.hostname)
    uris = tuple(name.uri for name in validation.subject_alt_names if name.uri)
    hostname, fault = validation.hostname.lower(), untrusted.message if untrusted else ""
    said = repr((hostname, authorities.fingerprints if authorities else (), names, uris, fault))
    digest = hashlib.sha256(said.encode()).hexdigest()[:12]
    return Origination(f"{one.meta.key}@{digest}", hostname, authorities, names, uris, fault)


def _conditions(
    one: BackendTLSPolicy, faults: list[Fault], untrusted: Fault | None, trusted: Trusted
) -> tuple[Condition, ...]:
    """Accepted where at least one target is; the others are named in its message."""
    lost = faults if len(faults) == len(one.targets) else []
    accepted = judge("Accepted", [*([untrusted] if untrusted else []), *lost], (fault.message for fault in faults))
    return (accepted, judge("ResolvedRefs", trusted.faults))


def origination_statuses(judged: Iterable[Judged], parents: Mapping[str, Iterable[str]]) -> list[Status]:
    """`parents`: for each pool of the plan the gateways whose routes refer to it; a policy has a status at each."""
    statuses: list[Status] = []
    for one in judged:
        gateways = sorted({gateway for pool in one.pools for gateway in parents.get(pool, ())})
        at = tuple(ParentStatus(f"Gateway {gateway}", one.conditions) for gateway in gateways)
        statuses.append(Status("BackendTLSPolicy", one.policy.meta.key, () if at else one.conditions, parents=at))
    return statuses
