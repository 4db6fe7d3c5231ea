"""Which lists an API server merges by a key, and which hold each value once: the published kinds' list types."""

from collections.abc import Mapping

from headgate.api.crds.schema import Schema

_FILTER_LISTS = tuple(
    f"{place}.filters[].{member}.{name}"
    for place in ("spec.rules[]", "spec.rules[].backendRefs[]")
    for member in ("requestHeaderModifier", "responseHeaderModifier")
    for name in ("set", "add")
)
_CORS_LISTS = tuple(
    f"{place}.filters[].cors.{name}"
    for place in ("spec.rules[]", "spec.rules[].backendRefs[]")
    for name in ("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders")
)

KEYED: Mapping[str, Mapping[str, str]] = {
    "Gateway": {"spec.listeners": "name", "spec.tls.frontend.perPort": "port"},
    "HTTPRoute": {
        "spec.rules[].matches[].headers": "name",
        "spec.rules[].matches[].queryParams": "name",
        **dict.fromkeys(_FILTER_LISTS, "name"),
    },
}
SETS: Mapping[str, tuple[str, ...]] = {"HTTPRoute": (*_CORS_LISTS, "spec.rules[].retry.codes")}


def node(schema: Schema, path: str) -> Schema:
    """What stands at a path such as `spec.rules[].filters[]` of an object's schema."""
    for name in path.replace("[]", ".[]").split("."):
        schema = schema["items"] if name == "[]" else schema["properties"][name]
    return schema


def merge(schema: Schema, kind: str) -> None:
    """Write the list types of a kind into its schema."""
    for path, key in KEYED.get(kind, {}).items():
        node(schema, path).update({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})
    for path in SETS.get(kind, ()):
        node(schema, path)["x-kubernetes-list-type"] = "set"
