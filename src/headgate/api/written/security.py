"""SecurityPolicy (gateway.envoyproxy.io/v1alpha1); what else it may hold is accepted, and named."""

from typing import Annotated, Any

import msgspec
from msgspec import Struct

from headgate.api.meta import Meta
from headgate.api.security import ApiKeyAuth, SecurityPolicy, SecurityTarget
from headgate.api.tree import Tree
from headgate.api.written.metadata import Spec


class SecuritySpec(Struct, frozen=True, rename="camel"):
    target_ref: SecurityTarget | None = None
    target_refs: Annotated[tuple[SecurityTarget, ...], msgspec.Meta(max_length=16)] = ()
    target_selectors: tuple[Any, ...] = ()
    api_key_auth: ApiKeyAuth | None = None
    authorization: Any = None
    basic_auth: Any = None
    cors: Any = None
    ext_auth: Any = None
    jwt: Any = None
    oidc: Any = None

    @property
    def others(self) -> tuple[str, ...]:
        """The members that are written and mean nothing here."""
        members = {
            "authorization": self.authorization,
            "basicAuth": self.basic_auth,
            "cors": self.cors,
            "extAuth": self.ext_auth,
            "jwt": self.jwt,
            "oidc": self.oidc,
        }
        return tuple(name for name, value in members.items() if value is not None)


def security(meta: Meta, written: Spec[SecuritySpec], _: Tree) -> SecurityPolicy:
    spec = written.spec
    targets = spec.target_refs if spec.target_ref is None else (spec.target_ref, *spec.target_refs)
    return SecurityPolicy(meta, targets, spec.api_key_auth, spec.others, bool(spec.target_selectors))
