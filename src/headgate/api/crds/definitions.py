"""The CustomResourceDefinitions of the kinds that are read, as an API server takes them (apiextensions.k8s.io/v1)."""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from headgate.api.crds import status
from headgate.api.crds.merging import merge, node
from headgate.api.crds.rules import rule
from headgate.api.crds.schema import Schema, schema_of
from headgate.api.kinds import KINDS, group
from headgate.api.tls import LocalRef

_GATEWAY = "gateway.networking.k8s.io"
_POOLS = "inference.networking.k8s.io"
_X = "inference.networking.x-k8s.io"
_ROUTER = "llm-d.ai"
_GKE = "networking.gke.io"
# An API server asks of groups below k8s.io where they were reviewed. The API was; these files are none of its own.
_UNREVIEWED = {"api-approved.kubernetes.io": "unapproved, Headgate's own schema of the published API"}


class Column(Struct, frozen=True):
    """One column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"


class Definition(Struct, frozen=True):
    """A kind in one API group; `pool_group` is what its poolRef means where it names no group."""

    kind: str
    group: str
    plural: str
    description: str
    status: Callable[[], Schema] | None = None
    short: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    pool_group: str = ""


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_ACCEPTED = Column("Accepted", ".status.conditions[?(@.type=='Accepted')].status")
_POOL = Column("Pool", ".spec.poolRef.name")
_OBJECTIVE = "How much the requests that name it matter, at one pool."
_REWRITE = "Which model a request for a model gets, by weight."

DEFINITIONS = (
    Definition(
        "GatewayClass",
        _GATEWAY,
        "gatewayclasses",
        "Gateways of one kind, and the controller that serves them.",
        status.gateway_class,
        ("gc",),
        (Column("Controller", ".spec.controllerName"), _ACCEPTED, _AGE),
    ),
    Definition(
        "Gateway",
        _GATEWAY,
        "gateways",
        "Where requests come in: listeners, at an address.",
        status.gateway,
        ("gtw",),
        (
            Column("Class", ".spec.gatewayClassName"),
            Column("Address", ".status.addresses[*].value"),
            Column("Programmed", ".status.conditions[?(@.type=='Programmed')].status"),
            _AGE,
        ),
    ),
    Definition(
        "HTTPRoute",
        _GATEWAY,
        "httproutes",
        "Which requests go to which backends.",
        status.route,
        (),
        (Column("Hostnames", ".spec.hostnames"), _AGE),
    ),
    Definition(
        "ReferenceGrant",
        _GATEWAY,
        "referencegrants",
        "Who may refer to objects of this namespace from another.",
        None,
        ("refgrant",),
        (_AGE,),
    ),
    Definition(
        "BackendTLSPolicy",
        _GATEWAY,
        "backendtlspolicies",
        "TLS towards the endpoints of a Service or a pool.",
        status.policy,
        ("btlspolicy",),
        (_AGE,),
    ),
    Definition(
        "InferencePool",
        _POOLS,
        "inferencepools",
        "Model servers that serve the same models.",
        status.pool,
        ("infpool",),
        (Column("Ports", ".spec.targetPorts[*].number"), _AGE),
    ),
    Definition(
        "InferencePool",
        _X,
        "inferencepools",
        "Model servers that serve the same models, in the form before v1.",
        status.pool_alpha,
        ("xinfpool",),
        (Column("Port", ".spec.targetPortNumber", "integer"), _AGE),
    ),
    Definition(
        "InferenceModel",
        _X,
        "inferencemodels",
        "A name that clients ask for, how critical it is, and the models that serve it.",
        status.ready,
        (),
        (
            Column("Model", ".spec.modelName"),
            _POOL,
            Column("Criticality", ".spec.criticality"),
            Column("Accepted", _ACCEPTED.path),
            _AGE,
        ),
        _X,
    ),
    *(
        Definition(
            kind,
            group_,
            plural,
            description,
            status.ready,
            (),
            (_POOL, *columns, _AGE),
            _POOLS,
        )
        for group_ in (_X, _ROUTER)
        for kind, plural, description, columns in (
            (
                "InferenceObjective",
                "inferenceobjectives",
                _OBJECTIVE,
                (Column("Priority", ".spec.priority", "integer"),),
            ),
            ("InferenceModelRewrite", "inferencemodelrewrites", _REWRITE, ()),
        )
    ),
)
GKE_DEFINITIONS = tuple(
    Definition(kind, _GKE, plural, description, None, (), (_AGE,))
    for kind, plural, description in (
        (
            "HealthCheckPolicy",
            "healthcheckpolicies",
            "How the servers of a pool or a Service are asked for their health.",
        ),
        ("GCPBackendPolicy", "gcpbackendpolicies", "Timeouts and rates of a pool or a Service."),
    )
)


def crds(*, gke: bool = False, rules: bool = True) -> Iterator[dict[str, Any]]:
    """Every definition as an object. `gke`: GKE's policies too. `rules`: with CEL, which needs Kubernetes 1.25."""
    for definition in (*DEFINITIONS, *(GKE_DEFINITIONS if gke else ())):
        yield _crd(definition, rules)


def _crd(of: Definition, rules: bool) -> dict[str, Any]:
    annotations = _UNREVIEWED if of.group.endswith(".k8s.io") else {}
    names = {
        "kind": of.kind,
        "listKind": f"{of.kind}List",
        "plural": of.plural,
        "singular": of.kind.lower(),
        **({"shortNames": list(of.short)} if of.short else {}),
        "categories": ["gateway-api" if of.group == _GATEWAY else "inference"],
    }
    versions = [name for name in KINDS[of.kind].versions if group(name) == of.group]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{of.plural}.{of.group}",
            **({"annotations": dict(annotations)} if annotations else {}),
            "labels": {"app.kubernetes.io/part-of": "headgate"},
        },
        "spec": {
            "group": of.group,
            "names": names,
            "scope": "Namespaced" if KINDS[of.kind].namespaced else "Cluster",
            "versions": [_version(of, name, name == versions[0], rules) for name in versions],
        },
    }


def _version(of: Definition, name: str, storage: bool, rules: bool) -> dict[str, Any]:
    version = name.rpartition("/")[2]
    columns = [{"name": one.name, "type": one.type, "jsonPath": one.path} for one in of.columns]
    return {
        "name": version,
        "served": True,
        "storage": storage,
        "additionalPrinterColumns": columns,
        **({"subresources": {"status": {}}} if of.status else {}),
        "schema": {"openAPIV3Schema": _object(of, name, version, rules)},
    }


def _object(of: Definition, name: str, version: str, rules: bool) -> Schema:
    """The schema of a whole object. What only we read, and what is not published, is left out."""
    schema = schema_of(KINDS[of.kind].versions[name].shape, defaults=of.group != _GKE)
    spec = schema["properties"]["spec"]
    if of.kind == "HTTPRoute":
        del spec["properties"]["backendRefs"]
        for place in ("rules[]", "rules[].backendRefs[]"):
            node(spec, f"{place}.filters[]")["properties"]["extensionRef"] = schema_of(LocalRef)
    if of.pool_group:
        spec["properties"]["poolRef"]["properties"]["group"]["default"] = of.pool_group
    merge(schema, of.kind)
    if rules:
        rule(schema, of.kind, version)
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
        **({"status": of.status()} if of.status else {}),
    }
    return {"type": "object", "description": of.description, "properties": properties, "required": ["spec"]}
