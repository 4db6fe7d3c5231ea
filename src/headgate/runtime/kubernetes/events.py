"""What users should see of their objects, where `kubectl describe` shows it: which Events are due. No clock, no socket.

An Event is told once for as long as its cause stays. Of many that come at once a few are told, the others later.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from headgate.api import Problem
from headgate.plan.plan import Condition, Statuses
from headgate.runtime.complaints import is_bad

BURST, EVERY_S = 20.0, 3.0  # Events at once, and seconds for each after that
_LONGEST_NOTE = 1024
_REASONS = {"error": "NotReadable", "warning": "ReadOtherwise"}


class Note(Struct, frozen=True, order=True):
    """`kind` and `name` (namespace/name) say what it is about."""

    kind: str
    name: str
    reason: str
    text: str


class Told(Struct, frozen=True):
    """What has been told, and how many Events may be told as of `at` (monotonic seconds)."""

    notes: frozenset[Note] = frozenset()
    tokens: float = BURST
    at: float = 0.0


def notes(problems: Iterable[Problem], statuses: Statuses) -> frozenset[Note]:
    """What is wrong with objects: what can't be read, and conditions that are not as they should be."""
    found: set[Note] = set()
    for problem in problems:
        kind, _, name = problem.object.partition(" ")
        if name and problem.severity in _REASONS:
            place = f"{problem.field}: " if problem.field else ""
            found.add(Note(kind, name, _REASONS[problem.severity], f"{place}{problem.message}"[:_LONGEST_NOTE]))
    for status in statuses:
        groups: list[tuple[str, Iterable[Condition]]] = [("", status.conditions)]
        groups += [(f"listener {one.name}: ", one.conditions) for one in status.listeners]
        groups += [(f"at {one.parent}: ", one.conditions) for one in status.parents]
        for where, conditions in groups:
            for one in conditions:
                if is_bad(one) and one.message:
                    text = f"{where}{one.message}"[:_LONGEST_NOTE]
                    found.add(Note(status.kind, status.name, one.reason, text))
    return frozenset(found)


def due(told: Told, wanted: frozenset[Note], now: float) -> tuple[Told, tuple[Note, ...]]:
    """Which of the `wanted` to tell now. What is wanted no more is forgotten, and told anew when it comes back."""
    tokens = min(BURST, told.tokens + max(0.0, now - told.at) / EVERY_S)
    fresh = sorted(wanted - told.notes)[: int(tokens)]
    kept = (told.notes & wanted) | frozenset(fresh)
    return Told(kept, tokens - len(fresh), now), tuple(fresh)


def event(note: Note, about: Mapping[str, str], reporter: str, instance: str, now: str) -> dict[str, object]:
    """As events.k8s.io/v1 writes it. `about`: the object's apiVersion, uid and resourceVersion; `now` a MicroTime."""
    namespace, _, name = note.name.rpartition("/")
    regarding = {"kind": note.kind, "name": name, **about}
    if namespace:
        regarding["namespace"] = namespace
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name[:200]}-", "namespace": namespace or "default"},
        "eventTime": now,
        "type": "Warning",
        "reason": note.reason[:128],
        "action": "Reading" if note.reason in _REASONS.values() else "Serving",
        "note": note.text,
        "regarding": regarding,
        "reportingController": reporter,
        "reportingInstance": instance[:128],
    }
