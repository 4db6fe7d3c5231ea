"""Which references may cross namespaces (Gateway API: ReferenceGrant)."""

from collections.abc import Iterable

from msgspec import Struct

from headgate.api.gateway import ReferenceGrant

GATEWAY_GROUP = "gateway.networking.k8s.io"


class Referrer(Struct, frozen=True):
    """The kind of object that refers to another, and where it lives."""

    kind: str
    namespace: str
    group: str = GATEWAY_GROUP


class Referent(Struct, frozen=True):
    group: str
    kind: str
    namespace: str
    name: str


def permitted(grants: Iterable[ReferenceGrant], from_: Referrer, to: Referent) -> bool:
    """Whether a reference may be followed: in one namespace always, across only with a grant at its far end."""
    return from_.namespace == to.namespace or any(
        grant.meta.namespace == to.namespace
        and any((g.group, g.kind, g.namespace) == (from_.group, from_.kind, from_.namespace) for g in grant.from_)
        and any((g.group, g.kind) == (to.group, to.kind) and g.name in (None, "", to.name) for g in grant.to)
        for grant in grants
    )
