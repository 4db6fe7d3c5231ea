"""What the statuses of objects say that somebody has to mend, in lines for people."""

from collections.abc import Iterable

from headgate.plan.plan import Condition, Statuses

_BAD_WHEN_TRUE = ("Conflicted", "PartiallyInvalid")


def complaints(statuses: Statuses) -> list[str]:
    """What is not accepted, not resolved or not programmed, one line each."""
    lines: list[str] = []
    for status in statuses:
        groups: list[tuple[str, Iterable[Condition]]] = [("", status.conditions)]
        groups += [(f" listener {listener.name}", listener.conditions) for listener in status.listeners]
        groups += [(f" at {parent.parent}", parent.conditions) for parent in status.parents]
        for where, conditions in groups:
            told: set[str] = set()
            for condition in conditions:
                # A conflict makes three conditions of one reason: once is enough.
                if is_bad(condition) and condition.message not in told:
                    if condition.message:
                        told.add(condition.message)
                    reason = in_words(condition)
                    lines.append(
                        f"{status.kind} {status.name}{where}: {condition.type} is {condition.status}: {reason}"
                    )
    return lines


def faults(conditions: Iterable[Condition]) -> str:
    """All that is bad of one object, in one line; "" where nothing is. What several conditions tell is said once."""
    told: dict[str, str] = {}
    for condition in conditions:
        if is_bad(condition):
            told.setdefault(condition.message or condition.reason, in_words(condition))
    return "; ".join(told.values())


def is_bad(condition: Condition) -> bool:
    if condition.type in _BAD_WHEN_TRUE:
        return condition.status == "True"
    return condition.status == "False" and condition.type != "Exported"


def in_words(condition: Condition) -> str:
    return f"{condition.reason}: {condition.message}" if condition.message else condition.reason
