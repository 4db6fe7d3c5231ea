"""What controllers write of each kind: the schemas of `status`, and the conditions that stand there before one came."""

from typing import Any

from headgate.api.crds.schema import Schema, schema_of
from headgate.api.gateway import ParentRef, RouteKind
from headgate.api.meta import Name

_LONGEST = 32768
_EPOCH = "1970-01-01T00:00:00Z"
_WORD = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
_TYPE = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
)
_CONTROLLER = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$"


def _text(most: int, pattern: str = "", least: int = 1) -> Schema:
    return {
        "type": "string",
        "maxLength": most,
        **({"minLength": least} if least else {}),
        **({"pattern": pattern} if pattern else {}),
    }


def _list(items: Schema, most: int, key: str = "") -> Schema:
    """A list; with a `key` each writer owns the items that it wrote, else who writes one writes all."""
    merging = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]} if key else {}
    return {"type": "array", "items": items, "maxItems": most, **(merging or {"x-kubernetes-list-type": "atomic"})}


def _object(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _pending(*types: str) -> list[dict[str, Any]]:
    return [
        {
            "type": type_,
            "status": "Unknown",
            "reason": "Pending",
            "message": "Waiting for controller",
            "lastTransitionTime": _EPOCH,
        }
        for type_ in types
    ]


def _conditions() -> Schema:
    """metav1.Condition, by type."""
    condition = _object(
        ("lastTransitionTime", "message", "reason", "status", "type"),
        type=_text(316, _TYPE, 0),
        status={"type": "string", "enum": ["False", "True", "Unknown"]},
        observedGeneration={"type": "integer", "format": "int64", "minimum": 0},
        lastTransitionTime={"type": "string", "format": "date-time"},
        reason=_text(1024, _WORD),
        message=_text(_LONGEST, least=0),
    )
    return _list(condition, 8, "type")


def _waiting(*types: str) -> Schema:
    """`status.conditions`, Unknown until a controller has looked."""
    pending = {"conditions": _pending(*types)}
    return {**_object(conditions=_conditions()), "default": pending}


def _parent(of: Schema, named: str, required: tuple[str, ...]) -> Schema:
    return _object(required, **{named: of}, controllerName=_text(253, _CONTROLLER), conditions=_conditions())


def gateway_class() -> Schema:
    status = _waiting("Accepted")
    status["properties"]["supportedFeatures"] = _list(_object(("name",), name=_text(63)), 64, "name")
    return status


def gateway() -> Schema:
    address = _object(("value",), type={**_text(253), "default": "IPAddress"}, value=_text(253))
    listener = _object(
        ("name", "attachedRoutes", "conditions"),
        name=_text(253),
        supportedKinds=_list(schema_of(RouteKind), 8),
        attachedRoutes={"type": "integer", "format": "int32", "minimum": 0},
        conditions=_conditions(),
    )
    status = _waiting("Accepted", "Programmed")
    status["properties"] |= {"addresses": _list(address, 16), "listeners": _list(listener, 64, "name")}
    return status


def route() -> Schema:
    parent = _parent(schema_of(ParentRef), "parentRef", ("parentRef", "controllerName", "conditions"))
    return _object(("parents",), parents=_list(parent, 32))


def policy() -> Schema:
    ancestor = _parent(schema_of(ParentRef), "ancestorRef", ("ancestorRef", "controllerName", "conditions"))
    return _object(("ancestors",), ancestors=_list(ancestor, 16))


def pool() -> Schema:
    parent = _object(
        ("name",),
        group={"type": "string", "maxLength": 253, "default": "gateway.networking.k8s.io"},
        kind={**_text(63), "default": "Gateway"},
        namespace=_text(63),
        name=schema_of(Name),
    )
    return _object(parents=_list(_parent(parent, "parentRef", ("parentRef",)), 32))


def pool_alpha() -> Schema:
    fields = ("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid")
    parent = _object(**{name: {"type": "string"} for name in fields})  # a core/v1 ObjectReference
    entry = _object(("parentRef",), parentRef=parent, conditions=_conditions())
    waiting = [{"parentRef": {"kind": "Status", "name": "default"}, "conditions": _pending("Accepted")}]
    return {**_object(parent=_list(entry, 32)), "default": {"parent": waiting}}


def ready() -> Schema:
    """The Inference Extension's other kinds: before a controller came, their `Ready` is Unknown."""
    return _waiting("Ready")
