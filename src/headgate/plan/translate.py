"""The whole translation: objects in, the plan and the statuses out. It reads nothing else and remembers nothing."""

from collections.abc import Iterable, Mapping
from itertools import groupby

from msgspec import Struct, structs

from headgate.api.gateway import Gateway, GatewayClass
from headgate.api.picker import Picking
from headgate.api.snapshot import Snapshot
from headgate.plan.admission import Admission, gather_admission
from headgate.plan.attach import Attachment, attach
from headgate.plan.base_models import gather_base_models
from headgate.plan.conditions import Fault, met, unmet
from headgate.plan.hostnames import generality
from headgate.plan.listeners import Examined, examine, gateway_conditions
from headgate.plan.lookup import Findings, Lookup, look_up
from headgate.plan.models import gather_models
from headgate.plan.objectives import gather_objectives
from headgate.plan.origination import origination_statuses
from headgate.plan.pickings import gather_pickings
from headgate.plan.plan import Condition, Listener, ListenerStatus, ParentStatus, Plan, Pool, Route, Status, Statuses
from headgate.plan.policies import Policies, gather_policies
from headgate.plan.pools import inference_pool, pool_statuses, service_pool
from headgate.plan.precedence import age, rank
from headgate.plan.rewrites import gather_rewrites
from headgate.plan.routes import CompiledRoute, compile_route

_NOTHING_FOUND: Findings = {}


class _Routed(Struct, frozen=True):
    """An HTTPRoute, compiled, and what became of it at each parent."""

    compiled: CompiledRoute
    attachments: tuple[Attachment, ...]

    def accepted_by(self, attachment: Attachment) -> bool:
        return attachment.fault is None and self.compiled.refused is None

    def hostnames_on(self, gateway: str, listener: str) -> tuple[str, ...] | None:
        """Those that the route answers to on a listener; None where it is not attached to it."""
        for one in self.attachments:
            if one.gateway == gateway and listener in one.listeners and self.accepted_by(one):
                return one.listeners[listener]
        return None


def translate(snapshot: Snapshot, findings: Findings = _NOTHING_FOUND) -> tuple[Plan, Statuses]:
    """What the gateway should do with all that was written, and what to tell those who wrote it.

    Every mistake becomes a condition in a status and takes only what depends on it out of the plan. The order of the
    objects in `snapshot` does not matter. Raises nothing for what `headgate.api.load` lets through. `findings`: what
    was found out about certificates by trying them, where somebody could.
    """
    look = look_up(snapshot, findings)
    gateways = {gateway.meta.key: examine(gateway, look) for gateway in snapshot.gateways}
    routed = tuple(
        _Routed(compile_route(route, look), attach(route, gateways, look))
        for route in sorted(snapshot.routes, key=lambda route: route.meta.key)
    )
    policies, policy_statuses = gather_policies(snapshot, look)
    pickings = gather_pickings(snapshot, look)
    pools, model_statuses = _pools(snapshot, look, routed, policies, pickings)
    base_models, base_model_statuses = gather_base_models(snapshot.config_maps)
    in_order = sorted(snapshot.gateways, key=lambda gateway: gateway.meta.key)
    admission, admission_statuses = gather_admission(snapshot, look)
    listeners = tuple(
        one for gateway in in_order for one in _listeners(gateway, gateways[gateway.meta.key], routed, admission)
    )
    parents = _parents(routed, gateways)
    statuses = [
        *(_class_status(one) for one in snapshot.gateway_classes),
        *(_gateway_status(gateway, gateways[gateway.meta.key], routed, admission) for gateway in in_order),
        *(_route_status(one) for one in routed),
        *pool_statuses(snapshot.pools, look, parents, pickings),
        *origination_statuses(policies.tls.judged, parents),
        *model_statuses,
        *policy_statuses,
        *admission_statuses,
        *base_model_statuses,
    ]
    plan = Plan(listeners, pools, base_models)
    return plan, tuple(sorted(statuses, key=lambda status: (status.kind, status.name)))


def _listeners(
    gateway: Gateway, examined: Iterable[Examined], routed: tuple[_Routed, ...], admission: Admission
) -> Iterable[Listener]:
    addresses = tuple(one.value for one in gateway.addresses if one.type == "IPAddress" and one.value)
    for one in examined:
        if one.refused is None:
            ring = admission.of_listener(gateway.meta.key, one.listener.name)
            routes = _routes(gateway.meta.key, one.listener.name, routed, admission)
            rings = sorted({ring, *(route.ring for route in routes)} - {""})
            yield Listener(
                gateway=gateway.meta.key,
                name=one.listener.name,
                port=one.listener.port,
                protocol="HTTPS" if one.tls else "HTTP",
                hostname=one.listener.hostname.lower(),
                addresses=addresses,
                routes=routes,
                tls=one.tls,
                ring=ring,
                keys={name: admission.rings[name] for name in rings},
            )


def _routes(gateway: str, listener: str, routed: Iterable[_Routed], admission: Admission) -> tuple[Route, ...]:
    """Every match of every route attached here, in order of precedence.

    A route with hostnames of several classes (one exact, one wildcard) comes once for each class: other routes may
    belong between them.
    """
    ring = admission.of_listener(gateway, listener)
    ranked = []
    for one in routed:
        hostnames = one.hostnames_on(gateway, listener)
        if hostnames is None:
            continue
        written = age(one.compiled.source.meta)
        for names in _classes(hostnames):
            for ordinal, route in enumerate(one.compiled.routes):
                own = admission.of_rule(one.compiled.source, int(route.name.split("/")[2]))
                placed = structs.replace(route, hostnames=names, ring=own or ring)
                ranked.append((rank(placed, written, ordinal), placed))
    return tuple(route for _, route in sorted(ranked, key=lambda pair: pair[0]))


def _classes(hostnames: tuple[str, ...]) -> list[tuple[str, ...]]:
    if not hostnames:
        return [()]
    return [tuple(names) for _, names in groupby(sorted(hostnames, key=generality), generality)]


def _pools(
    snapshot: Snapshot,
    look: Lookup,
    routed: Iterable[_Routed],
    policies: Policies,
    pickings: Mapping[str, Picking | Fault],
) -> tuple[Mapping[str, Pool], list[Status]]:
    """All InferencePools, and of the Services those ports that routes refer to."""
    models, model_statuses = gather_models(snapshot.models, look)
    rules, rewrite_statuses = gather_rewrites(snapshot.rewrites, look)
    objectives, objective_statuses = gather_objectives(snapshot.objectives, look)
    pools = {
        key: inference_pool(
            pool, models.get(key, {}), rules.get(key, ()), objectives.get(key, {}), policies, pickings.get(key)
        )
        for key, pool in look.pools.items()
    }
    for one in routed:
        for to in one.compiled.resolved:
            if to.service and to.port:
                pool = service_pool(to.service, to.port, policies)
                pools[pool.name] = pool
    return dict(sorted(pools.items())), model_statuses + rewrite_statuses + objective_statuses


def _parents(routed: Iterable[_Routed], gateways: Iterable[str]) -> Mapping[str, Mapping[str, bool]]:
    """For each pool of the plan the gateways whose routes refer to it, and whether any such route was accepted."""
    parents: dict[str, dict[str, bool]] = {}
    for one in routed:
        pools = {to.name for to in one.compiled.resolved if to.name}
        for at in one.attachments:
            for pool in pools if at.gateway in gateways else ():
                accepted = parents.setdefault(pool, {})
                accepted[at.gateway] = accepted.get(at.gateway, False) or one.accepted_by(at)
    return parents


def _class_status(one: GatewayClass) -> Status:
    return Status("GatewayClass", one.meta.name, (met("Accepted"),))


def _gateway_status(
    gateway: Gateway, examined: tuple[Examined, ...], routed: tuple[_Routed, ...], admission: Admission
) -> Status:
    key = gateway.meta.key
    listeners = tuple(
        ListenerStatus(
            name=one.listener.name,
            attached_routes=sum(route.hostnames_on(key, one.listener.name) is not None for route in routed),
            supported_kinds=one.kinds,
            conditions=one.conditions,
        )
        for one in examined
    )
    of_keys = (admission.gateways[key],) if key in admission.gateways else ()
    return Status("Gateway", key, gateway_conditions(gateway, examined) + of_keys, listeners=listeners)


def _route_status(one: _Routed) -> Status:
    parents = tuple(ParentStatus(at.parent, tuple(_route_conditions(one.compiled, at))) for at in one.attachments)
    return Status("HTTPRoute", one.compiled.source.meta.key, parents=parents)


def _route_conditions(compiled: CompiledRoute, at: Attachment) -> Iterable[Condition]:
    fault = at.fault or compiled.refused
    yield unmet("Accepted", fault.reason, fault.message) if fault else met("Accepted")
    yield compiled.resolved_refs
    if compiled.partial and not fault:
        yield compiled.partial
