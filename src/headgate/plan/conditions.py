"""How a status says that something holds, does not hold, or is not known yet, and why."""

from collections.abc import Iterable

from msgspec import Struct

from headgate.plan.plan import Condition


class Fault(Struct, frozen=True):
    """What is wrong, in the specification's word for it (`reason`) and in ours (`message`)."""

    reason: str
    message: str


def met(kind: str, reason: str = "", message: str = "") -> Condition:
    """The condition holds; its reason is its own name where the specification has no other."""
    return Condition(kind, "True", reason or kind, message)


def unmet(kind: str, reason: str, message: str) -> Condition:
    return Condition(kind, "False", reason, message)


def unknown(kind: str, reason: str, message: str) -> Condition:
    return Condition(kind, "Unknown", reason, message)


def judge(kind: str, faults: Iterable[Fault], notes: Iterable[str] = ()) -> Condition:
    """Met when there is no fault; else the first fault gives the reason, and the message tells them all."""
    faults = tuple(faults)
    if not faults:
        return met(kind, message=together(notes))
    return unmet(kind, faults[0].reason, together(fault.message for fault in faults))


def together(messages: Iterable[str]) -> str:
    """One message of many, each said once."""
    return "; ".join(dict.fromkeys(messages))
