"""Which Pods should there be? What Deployments, StatefulSets and bare Pods ask for, held against the Pods there are.

Pure: `reconcile` is called on every change and says what to create and what to delete *now*; the Pods' own changes
(one got ready, one is gone) lead to the next call. The rules are those of the Kubernetes controllers
(Deployment: RollingUpdate by maxSurge and maxUnavailable, Recreate; StatefulSet: ordered, one at a time).
"""

import hashlib
import math
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from headgate.api.snapshot import Snapshot
from headgate.api.workload import PodSpec, PodTemplate, Workload
from headgate.runtime.pods.addressed import ADDRESS

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own: no vowels, no characters that look alike


class Blueprint(Struct, frozen=True):
    """A Pod to be: all that is known before it has an address. `revision` names its template."""

    namespace: str
    name: str
    owner: str  # "Deployment namespace/name", "" for a bare Pod
    revision: str
    spec: PodSpec
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Existing(Struct, frozen=True):
    """What the controllers look at in a Pod that was made; `born` grows with every Pod made.

    `since` is when it got ready (seconds, the caller's clock), where that is known.
    """

    blueprint: Blueprint
    born: int
    ready: bool = False
    deleting: bool = False
    since: float = -math.inf


class Changes(Struct, frozen=True):
    """`again`: when to look again even if nothing changes (minReadySeconds of a Pod will be over)."""

    create: tuple[Blueprint, ...] = ()
    delete: tuple[str, ...] = ()  # keys
    again: float = math.inf


def reconcile(snapshot: Snapshot, existing: Sequence[Existing], now: float = math.inf) -> Changes:
    """What to create and delete now. Nothing, where everything is as it should be. `now`: seconds, of `since`."""
    create: list[Blueprint] = []
    delete: list[str] = []
    again = math.inf
    by_owner: dict[str, list[Existing]] = {}
    for pod in existing:
        by_owner.setdefault(pod.blueprint.owner, []).append(pod)
    for workload in snapshot.workloads:
        mine = by_owner.pop(_owner(workload), [])
        due = {pod.blueprint.key: pod.since + workload.min_ready_seconds for pod in mine if pod.ready}
        again = min([again, *(at for at in due.values() if at > now)])
        available = frozenset(key for key, at in due.items() if at <= now)
        changes = (_stateful_set if workload.kind == "StatefulSet" else _deployment)(workload, mine, available)
        create += changes.create
        delete += changes.delete
    changes = _bare(snapshot, by_owner.pop("", []))
    create += changes.create
    delete += changes.delete
    delete += [pod.blueprint.key for orphans in by_owner.values() for pod in orphans if not pod.deleting]
    free: dict[str, Blueprint] = {}
    for blueprint in create:
        free.setdefault(blueprint.key, blueprint)  # of two that want one name, the first has it
    for pod in existing:
        free.pop(pod.blueprint.key, None)
    return Changes(tuple(free.values()), tuple(delete), again)


def revision(template: PodTemplate | PodSpec) -> str:
    """Ten characters that name a template: equal templates have equal names, whatever the order of their labels."""
    return _word(msgspec.json.encode(template, order="deterministic"), 10)


def count(value: int | str, of: int, *, up: bool) -> int:
    """maxSurge (rounded up) and maxUnavailable (rounded down): a number, or `25%` of the replicas."""
    if isinstance(value, int):
        return value
    share = of * int(value.rstrip("%")) / 100
    return math.ceil(share) if up else math.floor(share)


def _deployment(workload: Workload, pods: Sequence[Existing], available: frozenset[str]) -> Changes:
    wanted = _replicas(workload)
    now = revision(workload.template)
    live = [pod for pod in pods if not pod.deleting]
    new = [pod for pod in live if pod.blueprint.revision == now]
    old = [pod for pod in live if pod.blueprint.revision != now]
    if workload.recreate and any(pod.blueprint.revision != now for pod in pods):
        return Changes(delete=_keys(old))  # nothing new before all that is old is gone
    surge = count(workload.max_surge, wanted, up=True)
    unavailable = count(workload.max_unavailable, wanted, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1  # as Kubernetes has it: else nothing could ever move
    room = wanted - len(new) if not old else min(wanted - len(new), wanted + surge - len(live))
    create = _named(workload, now, pods, max(room, 0))
    delete = _first_to_go(new)[: max(len(new) - wanted, 0)]
    if old:
        delete += _old_to_go(old, new, wanted, wanted - unavailable, available)
    return Changes(create, _keys(delete))


def _replicas(workload: Workload) -> int:
    runs_here = workload.template.spec.containers and ADDRESS not in workload.template.annotations
    return workload.replicas if runs_here else 0


def _old_to_go(
    old: list[Existing], new: list[Existing], wanted: int, at_least: int, available: frozenset[str]
) -> list[Existing]:
    """Which Pods of older templates can go while `at_least` stay available: those that are not available first."""
    useful_new = sum(pod.blueprint.key in available for pod in new)
    can_go = max(len(old) + useful_new - at_least, 0)
    useful = [pod for pod in _first_to_go(old) if pod.blueprint.key in available]
    broken = [pod for pod in _first_to_go(old) if pod.blueprint.key not in available][:can_go]
    spare = len(useful) + min(useful_new, wanted) - at_least
    return broken + useful[: max(spare, 0)]


def _stateful_set(workload: Workload, pods: Sequence[Existing], available: frozenset[str]) -> Changes:
    wanted = _replicas(workload)
    now = revision(workload.template)
    by_name = {pod.blueprint.name: pod for pod in pods}
    names = [f"{workload.meta.name}-{ordinal}" for ordinal in range(wanted)]
    extra = sorted((pod for pod in pods if pod.blueprint.name not in names), key=lambda pod: pod.born, reverse=True)
    if workload.parallel:
        missing = tuple(_blueprint(workload, name, now) for name in names if name not in by_name)
        going = [pod for pod in extra if not pod.deleting]
        stale = [] if missing else _last_to_update([by_name[name] for name in names], now, available)
        return Changes(missing, _keys([*going, *stale]))
    for name in names:  # in order: the next one when the one before is ready
        pod = by_name.get(name)
        if pod is None:
            return Changes(create=(_blueprint(workload, name, now),))
        if pod.deleting:
            return Changes()
        if not pod.ready:
            # One that never got ready may be so because of the template that was just mended.
            return Changes(delete=_keys([pod])) if pod.blueprint.revision != now else Changes()
        if pod.blueprint.key not in available:
            return Changes()
    if extra:
        return Changes(delete=() if any(pod.deleting for pod in extra) else _keys(extra[:1]))
    stale = [by_name[name] for name in names if by_name[name].blueprint.revision != now]
    return Changes(delete=_keys(stale[-1:]))


def _last_to_update(pods: Sequence[Existing], now: str, available: frozenset[str]) -> list[Existing]:
    """The last Pod of another revision, when all after it are as they should be."""
    for pod in reversed(pods):
        if pod.blueprint.revision != now:
            return [] if pod.deleting else [pod]
        if pod.deleting or pod.blueprint.key not in available:
            return []
    return []


def _bare(snapshot: Snapshot, pods: Sequence[Existing]) -> Changes:
    blueprints = bare_blueprints(snapshot)
    stale = [
        pod
        for pod in pods
        if not pod.deleting
        and ((new := blueprints.get(pod.blueprint.key)) is None or new.revision != pod.blueprint.revision)
    ]
    return Changes(tuple(blueprints.values()), _keys(stale))


def bare_blueprints(snapshot: Snapshot) -> dict[str, Blueprint]:
    """The Pods that are written as such and run here, by key."""
    return {
        pod.meta.key: Blueprint(
            namespace=pod.meta.namespace,
            name=pod.meta.name,
            owner="",
            revision=revision(pod.spec),
            spec=pod.spec,
            labels=dict(pod.meta.labels),
            annotations=dict(pod.meta.annotations),
        )
        for pod in snapshot.pods
        if pod.spec is not None and pod.spec.containers and ADDRESS not in pod.meta.annotations
    }


def _blueprint(workload: Workload, name: str, now: str) -> Blueprint:
    template = workload.template
    labels = dict(template.labels)
    labels["pod-template-hash" if workload.kind == "Deployment" else "controller-revision-hash"] = now
    if workload.kind == "StatefulSet":
        labels["statefulset.kubernetes.io/pod-name"] = name
        labels["apps.kubernetes.io/pod-index"] = name.rpartition("-")[2]
    namespace = workload.meta.namespace
    return Blueprint(namespace, name, _owner(workload), now, template.spec, labels, dict(template.annotations))


def _named(workload: Workload, now: str, pods: Sequence[Existing], how_many: int) -> tuple[Blueprint, ...]:
    """So many new Pods under the first names that no Pod has: the same manifest gives the same names every time."""
    taken = {pod.blueprint.name for pod in pods}
    made: list[Blueprint] = []
    slot = 0
    while len(made) < how_many:
        name = f"{workload.meta.name}-{now}-{_word(f'{workload.meta.key}/{now}/{slot}'.encode(), 5)}"
        slot += 1
        if name not in taken:
            made.append(_blueprint(workload, name, now))
            taken.add(name)
    return tuple(made)


def _owner(workload: Workload) -> str:
    return f"{workload.kind} {workload.meta.key}"


def _first_to_go(pods: Sequence[Existing]) -> list[Existing]:
    """Not ready before ready, then the youngest first."""
    return sorted(pods, key=lambda pod: (pod.ready, -pod.born))


def _keys(pods: Sequence[Existing]) -> tuple[str, ...]:
    return tuple(pod.blueprint.key for pod in pods)


def _word(data: bytes, length: int) -> str:
    digest = int.from_bytes(hashlib.blake2b(data, digest_size=16).digest())
    letters = []
    for _ in range(length):
        digest, letter = divmod(digest, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)
