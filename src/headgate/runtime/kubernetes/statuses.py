"""What a status says of an object, in its specification's form: what is there and what is meant → what to write.

Conditions keep their time while their status stays the same. Of lists that several controllers write to (the parents
of a route or a pool, the ancestors of a policy) only the entries that are ours change; the others are written as they
were.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from headgate.plan.grants import GATEWAY_GROUP
from headgate.plan.plan import Condition, ParentStatus, Status
from headgate.runtime.kubernetes.holdings import Held
from headgate.runtime.kubernetes.relevant import CONTROLLER
from headgate.runtime.kubernetes.resources import STATUSES

Json = dict[str, Any]

_LONGEST = 32768  # characters of a message (metav1.Condition)
_MOST_ADDRESSES = 16
_SERVED = "Programmed"

# Lists that are one value to the server: who writes them must have seen what they were.
ATOMIC = frozenset({"HTTPRoute", "InferencePool", "BackendTLSPolicy"})


class Facts(Struct, frozen=True):
    """What statuses say beyond the plan's. `generations` are those of the objects that it was made of."""

    now: str  # RFC 3339
    addresses: Mapping[str, tuple[str, ...]]  # by gateway
    unserved: Mapping[str, str]  # gateway → why no request gets in
    gateways: frozenset[str]  # ours
    pools: frozenset[str]  # those that routes of ours lead to
    generations: Mapping[tuple[str, str], int]  # by kind and namespace/name


Say = Callable[[Held, Status | None, Facts], Json | None]


def said(held: Held, status: Status | None, facts: Facts) -> Json | None:
    """The status that the object should have as far as it is ours; None where we have nothing to say of it.

    `status` is None for an object that is not ours, or is no longer.
    """
    say = _SAY.get(held.resource.kind)
    return say(held, status, facts) if say else None


def let_go(held: Held, was: Json, facts: Facts) -> Json | None:
    """The status of an object that was ours: nobody speaks for it now. `was` is what we said of it last.

    None where somebody else does already; of entries in lists `said` takes care.
    """
    if held.resource.kind in ATOMIC or not told_already(held.beside.status, was):
        return None
    now, generation = held.beside.status, _generation(held, facts)
    found: Json = {"conditions": conditions(_waiting(was), now.get("conditions"), generation, facts.now)}
    if "listeners" in was:
        # They stay, with nothing attached: some API servers make null of a list that loses its last member.
        found["listeners"] = [
            {
                **one,
                "attachedRoutes": 0,
                "conditions": conditions(_waiting(one), one["conditions"], generation, facts.now),
            }
            for one in was["listeners"]
        ]
        found["addresses"] = []
    return found


def _waiting(was: Json) -> list[Condition]:
    return [
        Condition(one["type"], "Unknown", "Pending", "Waiting for controller")
        for one in was.get("conditions") or ()
        if one["type"] in ("Accepted", _SERVED)
    ]


def told_already(now: Any, wanted: Any) -> bool:
    """Whether all that is `wanted` is there. Lists of conditions and listeners may have more, from others."""
    if isinstance(wanted, dict):
        return isinstance(now, dict) and all(told_already(now.get(key), value) for key, value in wanted.items())
    key = _key_of(wanted)
    if key is None or not isinstance(now, list):
        return bool(now == wanted) or (now is None and wanted == [])
    there = {one.get(key): one for one in now if isinstance(one, dict)}
    return all(told_already(there.get(one[key]), one) for one in wanted)


def _key_of(value: Any) -> str | None:
    """What tells the members of such a list apart; None where its order counts."""
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        return None
    if all("type" in one and "status" in one for one in value):
        return "type"
    return "name" if all("attachedRoutes" in one for one in value) else None


def leftovers(now: Any, wanted: Json) -> bool:
    """Whether there are conditions or listeners beyond those that are wanted: of us, from before."""
    for field in ("conditions", "listeners"):
        key = {"conditions": "type", "listeners": "name"}[field]
        if field in wanted and isinstance(now, dict):
            names = {one[key] for one in wanted[field]}
            if any(one.get(key) not in names for one in now.get(field) or ()):
                return True
    return False


def conditions(wanted: Iterable[Condition], before: Any, generation: int, now: str) -> list[Json]:
    were = {one.get("type"): one for one in before or () if isinstance(one, dict)}
    found: list[Json] = []
    for one in wanted:
        was = were.get(one.type, {})
        since = was.get("lastTransitionTime") if was.get("status") == one.status else None
        found.append(
            {
                "type": one.type,
                "status": one.status,
                "reason": one.reason,
                "message": one.message[:_LONGEST],
                "observedGeneration": generation,
                "lastTransitionTime": since or now,
            }
        )
    return found


def _generation(held: Held, facts: Facts) -> int:
    own = int(held.value.get("metadata", {}).get("generation") or 0)
    return facts.generations.get((held.resource.kind, held.key), own)


def _plain(held: Held, status: Status | None, facts: Facts) -> Json | None:
    """Conditions, and nothing else."""
    if status is None or not status.conditions:
        return None
    before = (held.beside.status or {}).get("conditions")
    return {"conditions": conditions(status.conditions, before, _generation(held, facts), facts.now)}


def _class(held: Held, status: Status | None, facts: Facts) -> Json | None:
    """Those of other controllers are theirs to speak of, also where we were told to serve them."""
    ours = (held.value.get("spec") or {}).get("controllerName") == CONTROLLER
    return _plain(held, status, facts) if ours else None


def _of_pool(held: Held, status: Status | None, facts: Facts) -> Json | None:
    """What belongs to a pool that we don't serve is somebody else's."""
    ref = (held.value.get("spec") or {}).get("poolRef") or {}
    return _plain(held, status, facts) if f"{held.key.partition('/')[0]}/{ref.get('name')}" in facts.pools else None


def _gateway(held: Held, status: Status | None, facts: Facts) -> Json | None:
    if status is None:
        return None
    before, generation = held.beside.status or {}, _generation(held, facts)
    why, reason = facts.unserved.get(status.name, ""), "Invalid"
    listeners_before = {one.get("name"): one for one in before.get("listeners") or ()}
    listeners = [
        {
            "name": one.name,
            "attachedRoutes": one.attached_routes,
            "supportedKinds": [{"group": GATEWAY_GROUP, "kind": kind} for kind in one.supported_kinds],
            "conditions": conditions(
                _served(one.conditions, why, reason),
                listeners_before.get(one.name, {}).get("conditions"),
                generation,
                facts.now,
            ),
        }
        for one in status.listeners
    ]
    found = facts.addresses.get(status.name, ())
    if not why and not found:
        why, reason = "it has no address yet: see --service and --address", "AddressNotAssigned"
    own = conditions(_served(status.conditions, why, reason), before.get("conditions"), generation, facts.now)
    addresses = [{"type": _type(one), "value": one} for one in found[:_MOST_ADDRESSES]]
    return {"addresses": addresses, "conditions": own, "listeners": listeners}


def _served(wanted: Sequence[Condition], why: str, reason: str) -> list[Condition]:
    """The same, but not programmed where there is a reason for that."""
    return [
        Condition(_SERVED, "False", reason, why) if why and one.type == _SERVED and one.status == "True" else one
        for one in wanted
    ]


def _type(address: str) -> str:
    return "IPAddress" if ":" in address or address.replace(".", "").isdigit() else "Hostname"


def _route(held: Held, status: Status | None, facts: Facts) -> Json | None:
    """An entry for each of the route's own references, as they are written."""
    wanted = {one.parent: one for one in status.parents} if status else {}
    ours: list[tuple[Json, ParentStatus]] = []
    for ref in (held.value.get("spec") or {}).get("parentRefs") or ():
        found = wanted.get(_parent(ref, held.key.partition("/")[0]))
        if found is not None:
            ours.append((ref, found))
    return _entries(held, "parents", "parentRef", ours, facts)


def _parent(ref: Mapping[str, Any], home: str) -> str:
    """As `plan.ParentStatus` names it."""
    section = f" {ref['sectionName']}" if ref.get("sectionName") else ""
    port = f":{ref['port']}" if ref.get("port") else ""
    return f"Gateway {ref.get('namespace') or home}/{ref.get('name')}{section}{port}"


def _pool(held: Held, status: Status | None, facts: Facts) -> Json | None:
    parents = status.parents if status else ()
    ours = [(_reference(one.parent), one) for one in parents if one.parent.startswith("Gateway ")]
    if held.resource.version == "v1":
        return _entries(held, "parents", "parentRef", ours, facts)
    return _old_pool(held, ours, facts)


def _tls_policy(held: Held, status: Status | None, facts: Facts) -> Json | None:
    ours = [(_reference(one.parent), one) for one in status.parents] if status else []
    return _entries(held, "ancestors", "ancestorRef", ours, facts)


def _reference(parent: str) -> Json:
    namespace, _, name = parent.removeprefix("Gateway ").partition("/")
    return {"group": GATEWAY_GROUP, "kind": "Gateway", "namespace": namespace, "name": name}


def _entries(
    held: Held, field: str, ref_field: str, ours: Sequence[tuple[Json, ParentStatus]], facts: Facts
) -> Json | None:
    """The list with our entries in it, each where it was, and those of others."""
    before: list[Json] = list((held.beside.status or {}).get(field) or ())
    wanted = {_rank(ref): (ref, one) for ref, one in ours}
    generation = _generation(held, facts)
    found: list[Json] = []
    for entry in before:
        if entry.get("controllerName") != CONTROLLER:
            found.append(entry)
        elif (mine := wanted.pop(_rank(entry.get(ref_field) or {}), None)) is not None:
            found.append(_entry(ref_field, *mine, entry.get("conditions"), generation, facts.now))
    found += [_entry(ref_field, ref, one, None, generation, facts.now) for ref, one in wanted.values()]
    return {field: found} if found or before else None


def _entry(field: str, ref: Json, one: ParentStatus, before: Any, generation: int, now: str) -> Json:
    return {
        field: ref,
        "controllerName": CONTROLLER,
        "conditions": conditions(one.conditions, before, generation, now),
    }


def _rank(ref: Mapping[str, Any]) -> tuple[str, ...]:
    """Which parent it means, whether or not defaults are written out."""
    usual = {"group": GATEWAY_GROUP, "kind": "Gateway"}
    fields = ("group", "kind", "namespace", "name", "sectionName", "port")
    return tuple(str(ref.get(field) or usual.get(field, "")) for field in fields)


def _old_pool(held: Held, ours: Sequence[tuple[Json, ParentStatus]], facts: Facts) -> Json | None:
    """v1alpha2: entries don't say whose they are. Those of our Gateways are ours."""
    before: list[Json] = list((held.beside.status or {}).get("parent") or ())
    generation = _generation(held, facts)
    others: list[Json] = []
    were: dict[str, Any] = {}
    for entry in before:
        ref = entry.get("parentRef") or {}
        name = f"{ref.get('namespace') or held.key.partition('/')[0]}/{ref.get('name')}"
        if ref.get("kind") == "Gateway" and name in facts.gateways:
            were[name] = entry.get("conditions")
        elif ref.get("kind") != "Status":
            others.append(entry)
    mine = [
        {
            "parentRef": {
                "apiVersion": f"{GATEWAY_GROUP}/v1",
                "kind": "Gateway",
                "namespace": ref["namespace"],
                "name": ref["name"],
            },
            "conditions": conditions(
                one.conditions, were.get(f"{ref['namespace']}/{ref['name']}"), generation, facts.now
            ),
        }
        for ref, one in ours
    ]
    return {"parent": [*others, *mine]} if mine or were else None


_SAY: Mapping[str, Say] = {
    "GatewayClass": _class,
    "Gateway": _gateway,
    "HTTPRoute": _route,
    "InferencePool": _pool,
    "InferenceModel": _of_pool,
    "InferenceObjective": _of_pool,
    "InferenceModelRewrite": _of_pool,
    "BackendTLSPolicy": _tls_policy,
}

assert _SAY.keys() == STATUSES
