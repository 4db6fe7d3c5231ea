"""Which of the kinds that we read does a cluster have, in which version?  Discovery documents → resources."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from headgate.api.kinds import KINDS, group

# An API server that knows the aggregated form answers with it; others with a list of groups.
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
ACCEPT = f"{_AGGREGATED.format('v2')},{_AGGREGATED.format('v2beta1')},application/json"


class Resource(Struct, frozen=True, order=True):
    """A kind in the version that we take it in."""

    group: str  # "" the core
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """Of its collection in a namespace ("" all of them), or of one object."""
        start = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        home = f"/namespaces/{namespace}" if namespace else ""
        return f"{start}{home}/{self.plural}{f'/{name}' if name else ''}"


# They are in every cluster.
BUILT_IN = (
    Resource("", "v1", "Service", "services"),
    Resource("", "v1", "ConfigMap", "configmaps"),
    Resource("", "v1", "Secret", "secrets"),
    Resource("", "v1", "Namespace", "namespaces", False),
    Resource("apps", "v1", "Deployment", "deployments"),
    Resource("apps", "v1", "StatefulSet", "statefulsets"),
)
PODS = Resource("", "v1", "Pod", "pods")

# The kinds whose status we write.
STATUSES = frozenset(
    {
        "BackendTLSPolicy",
        "Gateway",
        "GatewayClass",
        "HTTPRoute",
        "InferenceModel",
        "InferenceModelRewrite",
        "InferenceObjective",
        "InferencePool",
    }
)

# Selectors of fields: what is never read, and may be much.
LEFT_OUT: Mapping[str, str] = {
    "Secret": "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!=kubernetes.io/dockerconfigjson",
}


def _wanted() -> dict[tuple[str, str], tuple[str, ...]]:
    """group and kind → the versions that we read, the best first."""
    found: dict[tuple[str, str], list[str]] = {}
    for kind, reading in KINDS.items():
        for api_version in () if reading.nameless or kind == "Pod" else reading.versions:
            found.setdefault((group(api_version), kind), []).append(api_version.rpartition("/")[2])
    return {key: tuple(versions) for key, versions in found.items()}


WANTED = _wanted()
GROUPS = frozenset(name for name, _ in WANTED) - {one.group for one in BUILT_IN}


class Listed(Struct, frozen=True):
    """What a discovery document says of the groups that we read from."""

    resources: frozenset[Resource] = frozenset()  # in all versions
    unknown: frozenset[str] = frozenset()  # groups of which it can't say just now
    to_ask: tuple[str, ...] = ()  # paths that say more, of a server that answers for each group alone


def listed(document: Mapping[str, Any]) -> Listed:
    """An answer of GET /apis, in either form."""
    if document.get("kind") != "APIGroupDiscoveryList":
        groups = [one for one in document.get("groups") or () if one.get("name") in GROUPS]
        paths = [f"/apis/{each['groupVersion']}" for one in groups for each in one.get("versions") or ()]
        return Listed(to_ask=tuple(paths))
    found: set[Resource] = set()
    unknown: set[str] = set()
    for one in document.get("items") or ():
        name = one["metadata"]["name"]
        for each in one.get("versions") or () if name in GROUPS else ():
            if each.get("freshness") == "Stale":
                unknown.add(name)
            for resource in each.get("resources") or ():
                kind = (resource.get("responseKind") or {}).get("kind", "")
                namespaced = resource.get("scope") != "Cluster"
                found.add(Resource(name, each["version"], kind, resource["resource"], namespaced))
    return Listed(frozenset(found), frozenset(unknown))


def of_version(document: Mapping[str, Any]) -> frozenset[Resource]:
    """An APIResourceList, without its subresources."""
    name, _, version = str(document.get("groupVersion", "")).rpartition("/")
    return frozenset(
        Resource(name, version, one["kind"], one["name"], bool(one.get("namespaced")))
        for one in document.get("resources") or ()
        if "/" not in one["name"]
    )


def chosen(there: Iterable[Resource], before: Iterable[Resource] = (), unknown: Iterable[str] = ()) -> set[Resource]:
    """What to follow: each kind that we read in the best of the versions there are; of unknown groups as `before`."""
    by_kind: dict[tuple[str, str], dict[str, Resource]] = {}
    for one in there:
        by_kind.setdefault((one.group, one.kind), {})[one.version] = one
    best = {
        next(found[version] for version in WANTED[key] if version in found)
        for key, found in by_kind.items()
        if key in WANTED and any(version in found for version in WANTED[key])
    }
    unsure = set(unknown)
    kept = {one for one in before if one.group in unsure and (one.group, one.kind) not in by_kind}
    return {*BUILT_IN, *best, *kept}
