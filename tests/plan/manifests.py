"""Snapshots to translate: by hand, and by hypothesis from a few names, so that objects do meet."""

from hypothesis import strategies as st

from headgate.api.gateway import (
    AllowedRoutes,
    BackendRef,
    FieldMatch,
    Gateway,
    HTTPRoute,
    Listener,
    ParentRef,
    PathMatch,
    RouteMatch,
    RouteNamespaces,
    RouteRule,
)
from headgate.api.inference import InferenceModel, InferencePool, PoolRef
from headgate.api.meta import Meta
from headgate.api.snapshot import Snapshot
from headgate.api.workload import Service, ServicePort

POOL_GROUP = "inference.networking.k8s.io"
NAMESPACES = ("default", "team")
HOSTNAMES = ("a.example.com", "b.example.com", "*.example.com", "*.com", "a.org")
PATHS = ("/", "/v1", "/v1/chat", "/v1/chat/completions", "/v2/")


def unique(objects: list[object]) -> tuple[object, ...]:
    """As `load` leaves them: one object of each name."""
    return tuple({one.meta.key: one for one in objects}.values())  # type: ignore[attr-defined]


metas = st.builds(
    Meta,
    name=st.sampled_from("abc"),
    namespace=st.sampled_from(NAMESPACES),
    created=st.sampled_from(("", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")),
)
listeners = st.builds(
    Listener,
    name=st.sampled_from(("one", "two", "three")),
    port=st.sampled_from((80, 81)),
    protocol=st.sampled_from(("HTTP", "HTTP", "HTTP", "HTTPS", "TCP")),
    hostname=st.sampled_from(("", *HOSTNAMES)),
    allowed_routes=st.builds(
        AllowedRoutes, namespaces=st.builds(RouteNamespaces, from_=st.sampled_from(("All", "Same")))
    ),
)
gateways = st.builds(
    Gateway,
    meta=metas,
    gateway_class_name=st.just("any"),
    listeners=st.lists(listeners, min_size=1, max_size=3, unique_by=lambda one: one.name).map(tuple),
)
fields = st.builds(FieldMatch, name=st.sampled_from(("X-A", "X-B")), value=st.sampled_from("12"))
matches = st.builds(
    RouteMatch,
    path=st.builds(PathMatch, type=st.sampled_from(("Exact", "PathPrefix")), value=st.sampled_from(PATHS)),
    headers=st.lists(fields, max_size=2).map(tuple),
    query_params=st.lists(fields, max_size=2).map(tuple),
    method=st.sampled_from((None, "GET", "POST")),
)
backend_refs = st.one_of(
    st.builds(
        BackendRef,
        name=st.sampled_from("abc"),
        group=st.just(POOL_GROUP),
        kind=st.just("InferencePool"),
        namespace=st.sampled_from((None, *NAMESPACES)),
        weight=st.integers(0, 3),
    ),
    st.builds(BackendRef, name=st.sampled_from("abc"), port=st.sampled_from((80, 81))),
)
rules = st.builds(
    RouteRule,
    matches=st.lists(matches, min_size=1, max_size=3).map(tuple),
    backend_refs=st.lists(backend_refs, max_size=2).map(tuple),
)
routes = st.builds(
    HTTPRoute,
    meta=metas,
    parent_refs=st.lists(
        st.builds(
            ParentRef,
            name=st.sampled_from("abc"),
            namespace=st.sampled_from((None, *NAMESPACES)),
            section_name=st.sampled_from((None, None, "one")),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    hostnames=st.lists(st.sampled_from(HOSTNAMES), max_size=3, unique=True).map(tuple),
    rules=st.lists(rules, min_size=1, max_size=2).map(tuple),
)
pools = st.builds(
    InferencePool,
    meta=metas,
    group=st.just(POOL_GROUP),
    version=st.just("v1"),
    selector=st.just({"app": "a"}),
    target_ports=st.just((8000,)),
)
models = st.builds(
    InferenceModel,
    meta=metas,
    model_name=st.sampled_from(("chat", "code")),
    pool_ref=st.builds(PoolRef, name=st.sampled_from("abc")),
    criticality=st.sampled_from((None, "Critical", "Sheddable")),
)
services = st.builds(
    Service, meta=metas, selector=st.just({"app": "web"}), ports=st.just((ServicePort(80), ServicePort(82)))
)
snapshots = st.builds(
    Snapshot,
    gateways=st.lists(gateways, max_size=3).map(unique),
    routes=st.lists(routes, max_size=4).map(unique),
    pools=st.lists(pools, max_size=3).map(unique),
    models=st.lists(models, max_size=4).map(unique),
    services=st.lists(services, max_size=2).map(unique),
)
