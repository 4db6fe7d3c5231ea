"""Of all that a cluster has, what is ours and what can matter to it.

Clusters are full of ConfigMaps, Secrets, Services and Deployments that change all the time; whatever no object of ours
refers to is left out, so that its changes disturb nothing. What stays gives the same plan (a law of the tests).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from headgate.api.gateway import Gateway, HTTPRoute, named_secrets
from headgate.api.inference import InferencePool
from headgate.api.meta import Problem
from headgate.api.picker import PICKER_CONFIG
from headgate.api.policy import BackendPolicy, HealthCheckPolicy
from headgate.api.rules.core import BBR_LABEL
from headgate.api.snapshot import Snapshot
from headgate.api.workload import Service, Workload
from headgate.plan.grants import GATEWAY_GROUP
from headgate.plan.references import references
from headgate.runtime.kubernetes.watching import Item

CONTROLLER = "headgate.dev/gateway-controller"
OUR_CLASS = "headgate"  # by name, where classes can't be read


def our_classes(snapshot: Snapshot, named: Collection[str], readable: bool) -> frozenset[str]:
    """GatewayClasses of our controller, and those that were named to be served too."""
    mine = {one.meta.name for one in snapshot.gateway_classes if one.controller_name == CONTROLLER}
    return frozenset({*mine, *named} if readable else {*mine, *named, OUR_CLASS})


def ours(snapshot: Snapshot, classes: Collection[str]) -> Snapshot:
    """Without the Gateways of others, and what of the routes attaches to them."""
    gateways = tuple(one for one in snapshot.gateways if one.gateway_class_name in classes)
    mine = {one.meta.key for one in gateways}
    routes = tuple(_attached(route, mine) for route in snapshot.routes)
    targets = {("Gateway", key) for key in mine}
    targets |= {("HTTPRoute", one.meta.key) for one in routes if one.parent_refs}
    return replace(
        snapshot,
        gateway_classes=tuple(one for one in snapshot.gateway_classes if one.meta.name in classes),
        gateways=gateways,
        routes=tuple(route for route in routes if route.parent_refs),
        security_policies=tuple(
            one
            for one in snapshot.security_policies
            if any((to.kind, f"{one.meta.namespace}/{to.name}") in targets for to in one.targets)
        ),
    )


def _attached(route: HTTPRoute, gateways: Collection[str]) -> HTTPRoute:
    refs = tuple(
        ref
        for ref in route.parent_refs
        if (ref.group, ref.kind) == (GATEWAY_GROUP, "Gateway")
        and f"{ref.namespace or route.meta.namespace}/{ref.name}" in gateways
    )
    return route if refs == route.parent_refs else replace(route, parent_refs=refs)


class Referred(Struct, frozen=True):
    """Names of what objects of ours refer to, whether or not there is such a thing, and the workloads of their Pods."""

    services: frozenset[str]
    secrets: frozenset[str]
    config_maps: frozenset[str]
    workloads: tuple[Workload, ...]


def referred(snapshot: Snapshot) -> Referred:
    services = frozenset(_services(snapshot))
    kept = [one for one in snapshot.services if one.meta.key in services]
    workloads = tuple(one for one in snapshot.workloads if _matters(one, snapshot.pools, kept))
    tried = references(snapshot)
    secrets = {key for _, kind, key in tried if kind == "Secret"}
    maps = {key for _, kind, key in tried if kind == "ConfigMap"}
    return Referred(
        services,
        frozenset({*secrets, *_key_secrets(snapshot)}),
        frozenset({*maps, *_config_maps(snapshot, workloads)}),
        workloads,
    )


def relevant(snapshot: Snapshot, to: Referred) -> Snapshot:
    """Without what nothing refers to."""
    return replace(
        snapshot,
        services=tuple(one for one in snapshot.services if one.meta.key in to.services),
        workloads=to.workloads,
        secrets=tuple(one for one in snapshot.secrets if one.meta.key in to.secrets),
        config_maps=tuple(
            one
            for one in snapshot.config_maps
            if one.meta.key in to.config_maps or one.meta.labels.get(BBR_LABEL) == "true"
        ),
    )


def matters(kind: str, items: Sequence[Item], to: Referred) -> bool:
    """Whether a change of these (none: perhaps of all) may change what there is to serve."""
    names = {"Service": to.services, "Secret": to.secrets, "ConfigMap": to.config_maps}.get(kind)
    if names is None or not items:
        return True
    return any(item.key in names or _is_list_of_models(item.value) for item in items)


def _is_list_of_models(value: Any) -> bool:
    return BBR_LABEL in ((value.get("metadata") or {}).get("labels") or {})


def concerns(problem: Problem, snapshot: Snapshot, to: Referred) -> bool:
    """Whether a problem of some object is ours, and not others' affair or nobody's."""
    kind, _, key = problem.object.partition(" ")
    match kind:
        case "Service":
            return key in to.services
        case "Secret":
            return key in to.secrets
        case "ConfigMap":
            return key in to.config_maps
        case "Deployment" | "StatefulSet":
            return any((one.kind, one.meta.key) == (kind, key) for one in to.workloads)
        case "Gateway" | "HTTPRoute" if problem.severity != "error":
            there: Iterable[Gateway | HTTPRoute] = (*snapshot.gateways, *snapshot.routes)
            return any(one.meta.key == key for one in there)
    return True


def _services(snapshot: Snapshot) -> Iterator[str]:
    for route in snapshot.routes:
        home = route.meta.namespace
        for rule in route.rules:
            filters = (*rule.filters, *(one for backend in rule.backend_refs for one in backend.filters))
            for ref in rule.backend_refs:
                yield f"{ref.namespace or home}/{ref.name}"
            for mirror in [one.request_mirror.backend_ref for one in filters if one.request_mirror]:
                yield f"{mirror.namespace or home}/{mirror.name}"
    for pool in snapshot.pools:
        if pool.picker is not None:
            yield f"{pool.meta.namespace}/{pool.picker.name}"
    for policy in snapshot.tls_policies:
        for target in policy.targets:
            yield f"{policy.meta.namespace}/{target.name}"
    policies: tuple[HealthCheckPolicy | BackendPolicy, ...] = (*snapshot.health_policies, *snapshot.backend_policies)
    for attached in policies:
        yield f"{attached.target.namespace or attached.meta.namespace}/{attached.target.name}"


def _matters(workload: Workload, pools: Collection[InferencePool], services: Collection[Service]) -> bool:
    """Whether its Pods serve a pool, or pick for one."""
    labels = workload.template.labels.items()
    owners: tuple[InferencePool | Service, ...] = (*pools, *services)
    selectors = [(one.meta.namespace, one.selector) for one in owners]
    return any(home == workload.meta.namespace and wanted and wanted.items() <= labels for home, wanted in selectors)


def _key_secrets(snapshot: Snapshot) -> Iterator[str]:
    attached: tuple[Gateway | HTTPRoute, ...] = (*snapshot.gateways, *snapshot.routes)
    for one in attached:
        for name in named_secrets(one.meta):
            yield f"{one.meta.namespace}/{name}"
    for policy in snapshot.security_policies:
        for ref in policy.keys.credential_refs if policy.keys else ():
            yield f"{ref.namespace or policy.meta.namespace}/{ref.name}"


def _config_maps(snapshot: Snapshot, workloads: Collection[Workload]) -> Iterator[str]:
    for pool in snapshot.pools:
        if named := pool.meta.annotations.get(PICKER_CONFIG):
            yield f"{pool.meta.namespace}/{named.partition('/')[0]}"
    for workload in workloads:
        for volume in workload.template.spec.volumes:
            projected = [one.config_map for one in volume.projected.sources] if volume.projected else []
            for source in (volume.config_map, *projected):
                if source is not None:
                    yield f"{workload.meta.namespace}/{source.name}"
