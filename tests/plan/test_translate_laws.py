"""What holds of every translation, whatever was written."""

from collections import Counter
from random import Random

import msgspec
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import gateways, routes, snapshots

from headgate.api.gateway import (
    FieldMatch,
    Gateway,
    HTTPRoute,
    Listener,
    ParentRef,
    PathMatch,
    RouteMatch,
    RouteRule,
)
from headgate.api.inference import InferencePool
from headgate.api.meta import Meta
from headgate.api.snapshot import Snapshot
from headgate.plan import translate, translation_yaml
from headgate.plan.plan import Plan, Route, Status, Statuses

PATHS = ("/", "/v1", "/v1/")
KINDS = [field.name for field in msgspec.structs.fields(Snapshot)]


@given(snapshots, st.randoms(use_true_random=False))
def test_the_order_of_the_objects_does_not_matter(snapshot: Snapshot, dice: Random) -> None:
    shuffled = {kind: tuple(dice.sample(getattr(snapshot, kind), len(getattr(snapshot, kind)))) for kind in KINDS}
    assert translate(Snapshot(**shuffled)) == translate(snapshot)


@given(snapshots)
def test_a_listener_has_every_match_of_its_routes_once_for_each_of_its_hostnames(snapshot: Snapshot) -> None:
    plan, statuses = translate(snapshot)
    written = {
        f"{route.meta.key}/{rule}/{match}"
        for route in snapshot.routes
        for rule, one in enumerate(route.rules)
        for match, _ in enumerate(one.matches)
    }
    attached = {
        (status.name, listener.name): listener.attached_routes
        for status in statuses
        for listener in status.listeners
        if status.kind == "Gateway"
    }
    for listener in plan.listeners:
        pairs = Counter((route.name, hostname) for route in listener.routes for hostname in route.hostnames or ("",))
        assert set(pairs.values()) <= {1}
        sources = {name.rsplit("/", 2)[0] for name, _ in pairs}
        assert len(sources) == attached[listener.gateway, listener.name]
        for source in sources:
            of_source = [(name, hostname) for name, hostname in pairs if name.rsplit("/", 2)[0] == source]
            names = {name for name in written if name.rsplit("/", 2)[0] == source}
            hostnames = {hostname for _, hostname in of_source}
            assert set(of_source) == {(name, hostname) for name in names for hostname in hostnames}


class Request(msgspec.Struct, frozen=True):
    host: str
    path: str
    method: str
    headers: dict[str, str]
    query: dict[str, str]


# Few words, so that many matches take the same request and every criterion gets to decide.
fields = st.lists(st.builds(FieldMatch, st.sampled_from(("X-A", "X-B")), st.sampled_from("112")), max_size=2).map(tuple)
rivals = st.builds(
    HTTPRoute,
    meta=st.builds(
        Meta,
        name=st.sampled_from("abcdef"),
        created=st.sampled_from(("", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")),
    ),
    parent_refs=st.just((ParentRef("gw"),)),
    hostnames=st.lists(st.sampled_from(("a.x.com", "*.x.com", "*.com", "a.org")), max_size=2, unique=True).map(tuple),
    rules=st.lists(
        st.builds(
            RouteRule,
            matches=st.lists(
                st.builds(
                    RouteMatch,
                    path=st.builds(PathMatch, st.sampled_from(("Exact", "PathPrefix")), st.sampled_from(PATHS)),
                    headers=fields,
                    query_params=fields,
                    method=st.sampled_from((None, "GET")),
                ),
                min_size=1,
                max_size=2,
            ).map(tuple),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
)
given_fields = st.sampled_from(({"X-A": "1", "X-B": "1"}, {"X-A": "1", "X-B": "1"}, {"X-A": "2"}, {}))
requests = st.builds(
    Request,
    host=st.sampled_from(("a.x.com", "b.x.com", "b.com", "a.org", "elsewhere.net")),
    path=st.sampled_from((*PATHS, "/v1/", "/v10", "/v1/x")),
    method=st.sampled_from(("GET", "POST")),
    headers=given_fields,
    query=given_fields,
)


def host_score(host: str, hostname: str) -> tuple[int, int] | None:
    """Characters in a matching hostname that is no wildcard, and in any matching one; None where it does not match."""
    if hostname.startswith("*."):
        return (0, len(hostname)) if host.endswith(hostname[1:]) else None
    return (len(hostname), len(hostname)) if host == hostname else None


def wanted(request: Request, match: RouteMatch) -> bool:
    """The specification's words, on the objects as written, sharing no code with the plan."""
    path = match.path.value
    if match.path.type == "Exact":
        if request.path != path:
            return False
    else:
        elements = [element for element in path.split("/") if element]
        if [element for element in request.path.split("/") if element][: len(elements)] != elements:
            return False
    for there, asked in ((request.headers, match.headers), (request.query, match.query_params)):
        first = {field.name: field.value for field in reversed(asked)}
        if any(there.get(name) != value for name, value in first.items()):
            return False
    return match.method in (None, request.method)


def best(request: Request, objects: tuple[HTTPRoute, ...]) -> str | None:
    found = []
    for route in objects:
        scores = [score for name in route.hostnames if (score := host_score(request.host, name)) is not None]
        if route.hostnames and not scores:
            continue
        host = max(scores, default=(0, 0))
        for i, rule in enumerate(route.rules):
            for j, match in enumerate(rule.matches):
                if wanted(request, match):
                    criteria = (
                        (-host[0], -host[1]),
                        match.path.type != "Exact",
                        -len(match.path.value.rstrip("/")),
                        match.method is None,
                        -len({field.name for field in match.headers}),
                        -len({field.name for field in match.query_params}),
                        route.meta.created or "9999",
                        route.meta.key,
                        (i, j),
                    )
                    found.append((criteria, f"{route.meta.key}/{i}/{j}"))
    return min(found)[1] if found else None


def takes(route: Route, request: Request) -> bool:
    match = route.match
    if match.path_kind == "exact":
        path = request.path == match.path
    else:
        path = match.path == "/" or f"{request.path}/".startswith(f"{match.path}/")
    lower = {name.lower(): value for name, value in request.headers.items()}
    return (
        path
        and (not route.hostnames or any(host_score(request.host, name) for name in route.hostnames))
        and match.method in ("", request.method)
        and all(lower.get(one.name) == one.value for one in match.headers)
        and all(request.query.get(one.name) == one.value for one in match.query)
    )


@settings(max_examples=150)
@given(
    st.lists(rivals, min_size=2, max_size=5, unique_by=lambda one: one.meta.key).map(tuple),
    st.lists(requests, min_size=10, max_size=20),
)
def test_the_first_route_that_matches_is_the_one_that_the_specification_prefers(
    objects: tuple[HTTPRoute, ...], asked: list[Request]
) -> None:
    gateway = Gateway(Meta("gw"), "any", (Listener("http", 80, "HTTP"),))
    plan, _ = translate(Snapshot(gateways=(gateway,), routes=objects))
    for request in asked:
        first = next((route.name for route in plan.listeners[0].routes if takes(route, request)), None)
        assert first == best(request, objects)


def without(statuses: Statuses, *names: str) -> list[Status]:
    return [status for status in statuses if status.name not in names]


@given(snapshots, gateways, routes)
def test_an_object_that_nothing_refers_to_changes_nothing_else(
    snapshot: Snapshot, gateway: Gateway, route: HTTPRoute
) -> None:
    alone = Meta("alone", "apart")
    more = msgspec.structs.replace(
        snapshot,
        gateways=(msgspec.structs.replace(gateway, meta=alone), *snapshot.gateways),
        routes=(msgspec.structs.replace(route, meta=alone, parent_refs=(ParentRef("alone"),)), *snapshot.routes),
        pools=(InferencePool(alone, "inference.networking.k8s.io", "v1", {"app": "x"}, (1,)), *snapshot.pools),
    )
    plan, statuses = translate(snapshot)
    more_plan, more_statuses = translate(more)
    assert without(more_statuses, "apart/alone") == list(statuses)
    assert [one for one in more_plan.listeners if one.gateway != "apart/alone"] == list(plan.listeners)
    assert {name: pool for name, pool in more_plan.pools.items() if name != "apart/alone"} == plan.pools


@given(snapshots)
def test_every_object_has_one_status(snapshot: Snapshot) -> None:
    _, statuses = translate(snapshot)
    written = {
        "Gateway": snapshot.gateways,
        "HTTPRoute": snapshot.routes,
        "InferencePool": snapshot.pools,
        "InferenceModel": snapshot.models,
    }
    names = sorted((kind, one.meta.key) for kind, objects in written.items() for one in objects)
    assert [(status.kind, status.name) for status in statuses] == names


@given(snapshots)
def test_every_backend_names_a_pool_of_the_plan_or_says_why_it_names_none(snapshot: Snapshot) -> None:
    plan, _ = translate(snapshot)
    for listener in plan.listeners:
        for route in listener.routes:
            for backend in route.backends:
                assert backend.pool in plan.pools if backend.pool else backend.reason


@given(snapshots)
def test_the_text_reads_back_as_the_same_values(snapshot: Snapshot) -> None:
    plan, statuses = translate(snapshot)
    first, second = yaml.safe_load_all(translation_yaml(plan, statuses))
    assert msgspec.convert(first, Plan) == plan
    assert msgspec.convert(second, Statuses) == statuses
