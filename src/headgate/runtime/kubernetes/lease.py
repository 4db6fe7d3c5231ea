"""Who of several replicas writes: the rules of a Lease (coordination.k8s.io/v1). No clock, no socket.

As Kubernetes' own components do it: whether a holder is alive is told by how long the Lease has not changed before our
own eyes, so that clocks that differ do no harm. A leader that can't renew ceases to be one before another one may take
its place.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

DURATION_S = 15  # that others wait for a holder who is silent
DEADLINE_S = 10.0  # after which a leader that could not renew is none
LOOK_S = 2.0

Json = dict[str, Any]


class Seen(Struct, frozen=True):
    """What was seen of the Lease, and since when it has been so; and when ours was renewed last. Monotonic seconds."""

    record: tuple[str, str] = ("", "")  # holder, renewTime
    since: float = float("-inf")
    renewed: float = float("-inf")


Do = Literal["create", "take", "renew", "stand by"]


def leads(seen: Seen, now: float) -> bool:
    return now - seen.renewed < DEADLINE_S


def decide(seen: Seen, lease: Mapping[str, Any] | None, me: str, now: float) -> tuple[Seen, Do]:
    """What to do about a Lease as it was just read, None where there is none."""
    if lease is None:
        return Seen(renewed=seen.renewed), "create"
    spec = lease.get("spec") or {}
    holder = str(spec.get("holderIdentity") or "")
    record = (holder, str(spec.get("renewTime") or ""))
    if record != seen.record:
        seen = replace(seen, record=record, since=now)
    if holder == me:
        return seen, "renew"
    patience = float(spec.get("leaseDurationSeconds") or DURATION_S)
    return seen, "take" if not holder or now - seen.since >= patience else "stand by"


def held_by(me: str, lease: Mapping[str, Any] | None, name: str, namespace: str, now: str) -> Json:
    """The Lease as its holder writes it. `now` is a MicroTime."""
    before = (lease or {}).get("spec") or {}
    mine = before.get("holderIdentity") == me
    metadata = dict((lease or {}).get("metadata") or {"name": name, "namespace": namespace})
    metadata.pop("managedFields", None)
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            **before,
            "holderIdentity": me,
            "leaseDurationSeconds": DURATION_S,
            "acquireTime": before.get("acquireTime") if mine else now,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not mine and lease is not None),
        },
    }


def released(lease: Mapping[str, Any], now: str) -> Json:
    """The Lease as it is let go of: whoever comes may take it at once."""
    spec = {**(lease.get("spec") or {}), "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now}
    return {**lease, "spec": spec}
