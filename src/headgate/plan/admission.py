"""Who needs a key for what: the annotation `headgate.dev/api-keys` of Gateways, and Envoy Gateway's SecurityPolicies.

The most specific counts: a rule of a route, the route, a listener, the whole Gateway. What leads to no key lets nobody
in: a mistake never opens what was to be closed.
"""

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from headgate.api.gateway import API_KEYS, Gateway, HTTPRoute, ObjectRef, named_secrets
from headgate.api.security import ApiKeyAuth, SecurityPolicy, SecurityTarget
from headgate.api.snapshot import Snapshot
from headgate.plan.conditions import Fault, judge
from headgate.plan.grants import GATEWAY_GROUP, Referent, Referrer, permitted
from headgate.plan.keys import Keys, keys
from headgate.plan.lookup import Lookup
from headgate.plan.plan import Condition, Status
from headgate.plan.precedence import age

_GROUP = "gateway.envoyproxy.io"
_KEY = re.compile(rb"[!-~]+")  # what a header can carry, without blanks

Target = tuple[str, str, str]  # kind, namespace/name, name of the listener or rule ("" the whole)


class Admission(Struct, frozen=True):
    """`rings` are the keys by who asks for them; `of` says which of them opens what."""

    rings: Mapping[str, Keys]
    of: Mapping[Target, str]
    gateways: Mapping[str, Condition]  # what to say of the annotations

    def of_listener(self, gateway: str, listener: str) -> str:
        """ "" where no key is needed."""
        return self.of.get(("Gateway", gateway, listener)) or self.of.get(("Gateway", gateway, "")) or ""

    def of_rule(self, route: HTTPRoute, index: int) -> str:
        """ "" where it is the listener's affair."""
        name, rule = route.meta.key, route.rules[index].name
        own = self.of.get(("HTTPRoute", name, rule)) if rule else None
        return own or self.of.get(("HTTPRoute", name, "")) or ""


def gather_admission(snapshot: Snapshot, look: Lookup) -> tuple[Admission, list[Status]]:
    rings: dict[str, Keys] = {}
    of: dict[Target, str] = {}
    told: dict[str, Condition] = {}
    statuses: list[Status] = []
    for gateway in snapshot.gateways:
        if API_KEYS in gateway.meta.annotations:
            ring = of["Gateway", gateway.meta.key, ""] = f"Gateway {gateway.meta.key}"
            rings[ring], faults = _of_gateway(gateway, look)
            told[gateway.meta.key] = judge("ResolvedRefs", faults)
    targets = _targets(snapshot)
    for policy in sorted(snapshot.security_policies, key=lambda policy: age(policy.meta)):
        if policy.keys is None:
            continue
        ring = f"SecurityPolicy {policy.meta.key}"
        rings[ring], faults = _of_policy(policy, policy.keys, look)
        unaccepted = [fault for target in policy.targets if (fault := _attach(policy, target, ring, targets, of))]
        statuses.append(
            Status("SecurityPolicy", policy.meta.key, (judge("Accepted", unaccepted), judge("ResolvedRefs", faults)))
        )
    return Admission(rings, of, told), statuses


def _targets(snapshot: Snapshot) -> frozenset[Target]:
    """Everything that a policy may have as its target."""
    gateways, routes = snapshot.gateways, snapshot.routes
    return frozenset(
        (
            *(("Gateway", one.meta.key, name) for one in gateways for name in ("", *(x.name for x in one.listeners))),
            *(("HTTPRoute", one.meta.key, name or "") for one in routes for name in ("", *(x.name for x in one.rules))),
        )
    )


def _attach(
    policy: SecurityPolicy, ref: SecurityTarget, ring: str, targets: frozenset[Target], of: dict[Target, str]
) -> Fault | None:
    target = (ref.kind, f"{policy.meta.namespace}/{ref.name}", ref.section_name or "")
    named = " ".join(filter(None, target))
    if (ref.group, ref.kind) not in ((GATEWAY_GROUP, "Gateway"), (GATEWAY_GROUP, "HTTPRoute")):
        told = f"kind {ref.kind} of group {ref.group or 'core'} is not served; use Gateway or HTTPRoute"
        return Fault("TargetNotFound", f"targetRefs: {told}")
    if target not in targets:
        return Fault("TargetNotFound", f"{named} does not exist")
    owner = of.setdefault(target, ring)
    if owner == ring:
        return None
    if owner.startswith("Gateway "):
        return Fault("Conflicted", f"{owner} has the annotation {API_KEYS}, which counts; remove one of the two")
    return Fault("Conflicted", f"{owner} is older and has the same target, {named}; remove one")


def _of_gateway(gateway: Gateway, look: Lookup) -> tuple[Keys, list[Fault]]:
    pairs, faults = _read([(f"{gateway.meta.namespace}/{name}", None) for name in named_secrets(gateway.meta)], look)
    return keys(pairs), faults


def _of_policy(policy: SecurityPolicy, written: ApiKeyAuth, look: Lookup) -> tuple[Keys, list[Fault]]:
    pairs, faults = _read([_follow(ref, policy, look) for ref in written.credential_refs], look)
    headers = tuple(dict.fromkeys(name.lower() for source in written.extract_from for name in source.headers))
    if not headers:
        faults.append(Fault("Invalid", "extractFrom names no header, so nobody gets in; write one, such as x-api-key"))
    return keys(pairs, headers, (written.forward_client_id_header or "").lower()), faults


def _follow(ref: ObjectRef, policy: SecurityPolicy, look: Lookup) -> tuple[str, Fault | None]:
    """The Secret's name, and why it may not be read."""
    home = policy.meta.namespace
    to = Referent(ref.group, ref.kind, ref.namespace or home, ref.name)
    name = f"{to.namespace}/{to.name}"
    if (ref.group, ref.kind) != ("", "Secret"):
        return name, Fault("InvalidKeyRef", f"{ref.kind} {name} ({ref.group or 'core'}) is no Secret; use a Secret")
    if permitted(look.grants, Referrer("SecurityPolicy", home, _GROUP), to):
        return name, None
    lacks = f"no ReferenceGrant in {to.namespace} lets SecurityPolicies of {home} refer to it"
    return name, Fault("RefNotPermitted", f"Secret {name}: {lacks}")


def _read(refs: Iterable[tuple[str, Fault | None]], look: Lookup) -> tuple[list[tuple[str, bytes]], list[Fault]]:
    """The clients of all Secrets with their keys, each key once."""
    pairs: list[tuple[str, bytes]] = []
    faults: list[Fault] = []
    owners: dict[bytes, str] = {}
    for name, barred in refs:
        secret = look.secrets.get(name)
        if barred or secret is None:
            faults.append(barred or Fault("InvalidKeyRef", f"Secret {name} does not exist"))
            continue
        for client, written in sorted(secret.data.items()):
            key = written.strip()  # a file that was made by an editor ends with a line end
            if not _KEY.fullmatch(key):
                what = "has blanks or characters that no header carries" if key else "is empty"
                faults.append(Fault("InvalidKeyRef", f"Secret {name}: the key of {client} {what}; write another"))
            elif owners.setdefault(key, client) != client:
                told = f"Secret {name}: {client} has the key of {owners[key]}, who counts; write another"
                faults.append(Fault("InvalidKeyRef", told))
            elif (client, key) not in pairs:
                pairs.append((client, key))
    return pairs, faults
