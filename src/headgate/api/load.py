"""`load`: texts → Snapshot and Problems. With the snapshot before, an edit disturbs nothing but what it changes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from headgate.api.fault import Fault
from headgate.api.kinds import KINDS
from headgate.api.meta import Problem, Where
from headgate.api.objects import Found, Identity, objects
from headgate.api.rules.across import across, remarks
from headgate.api.snapshot import Ignored, Snapshot
from headgate.api.texts import Text, read
from headgate.api.workload import Workload


def load(texts: Sequence[Text], before: Snapshot | None = None) -> tuple[Snapshot, tuple[Problem, ...]]:
    """The objects of all texts, and everything that is wrong with them, in the order of files and lines.

    An object with errors is left out; if `before` has it, it stays as it was there. Of objects with the same kind and
    name the last counts, by file name and then by line, as after `kubectl apply -f DIR`. A text whose YAML is broken
    keeps what it gave before. Never raises for what texts contain.
    """
    found = [
        each
        for text in sorted(dict.fromkeys(texts), key=lambda text: text.file)
        for document in read(text.text)
        for each in objects(document, text.file)
    ]
    problems = [problem for each in found for problem in each.problems]
    old = _by_identity(before) if before else {}
    lost = {each.where.file for each in found if each.lost}
    last: dict[Identity, Found] = {}
    for each in reversed(found):
        if each.identity and last.setdefault(each.identity, each) is not each:
            problems.append(_duplicate(each, last[each.identity].where, last[each.identity].value))

    now = {identity: was for identity, was in old.items() if identity in last or was.meta.where.file in lost}
    for identity, was in now.items():
        if identity in last and last[identity].where.file < was.meta.where.file in lost:
            # What counts is in a file that can't be read any more: an earlier one must not take its place meanwhile.
            problems.append(_duplicate(last[identity], was.meta.where, was))
            del last[identity]
    in_order = dict(reversed(last.items()))
    values = {identity: each.value for identity, each in in_order.items()}
    clashes = dict(across(values))
    problems.extend(in_order[identity].problem(fault) for identity, fault in remarks(values))
    for identity, each in in_order.items():
        faults = [*_changed(each, old.get(identity)), *([clashes[identity]] if identity in clashes else [])]
        problems.extend(each.problem(fault) for fault in faults)
        if each.value is not None and not faults:
            now[identity] = each.value

    ignored = {each.value for each in found if isinstance(each.value, Ignored)}
    ignored |= {each for each in (before.ignored if before else ()) if each.where.file in lost}
    return _snapshot(now, ignored), tuple(sorted(problems, key=_place))


def gather(found: Iterable[Found], before: Snapshot | None = None) -> tuple[Snapshot, tuple[Problem, ...]]:
    """The same of objects that a server has, one for each name: the first where two groups have a kind of one name.

    An object with errors is left out; if `before` has it, it stays as it was there.
    """
    first: dict[Identity, Found] = {}
    problems: list[Problem] = []
    for each in found:
        assert each.identity is not None
        if (other := first.setdefault(each.identity, each)) is not each:
            message = f"it is not used: {other.where} has the same name, and counts"
            problems.append(each.problem(Fault((), message, "note")))
        else:
            problems.extend(each.problems)
    old = _by_identity(before) if before else {}
    now = {identity: each.value or old.get(identity) for identity, each in first.items()}
    there = {identity: value for identity, value in now.items() if value is not None}
    problems.extend(first[identity].problem(fault) for identity, fault in remarks(there))
    return _snapshot(there, set()), tuple(sorted(problems, key=_place))


def _duplicate(each: Found, where: Where, value: Any) -> Problem:
    """`each` does not count, for the object is written again at `where`."""
    kind, name = each.identity or ("", "")
    if each.value is not None and _anywhere(each.value) == _anywhere(value):
        message = f"{kind} {name} is at {where} too, word for word: remove one of them"
    else:
        message = f"{kind} {name} is written again at {where}, which counts, as with kubectl apply: remove one of them"
    return each.problem(Fault(("metadata", "name"), message, "warning"))


def _anywhere(value: Any) -> Any:
    """The object without the place where it was written."""
    return value and replace(value, meta=replace(value.meta, where=Where()))


def _changed(each: Found, was: Any) -> Iterator[Fault]:
    """Fields that no server lets change."""
    if was is None or each.value is None or each.kind is None:
        return
    for field in each.kind.fixed:
        if field.get(each.value) != field.get(was):
            message = "it cannot be changed: write what it was, or give the object a new name"
            yield Fault(field.path, f"{message} (it stays as it was)")


def _by_identity(snapshot: Snapshot) -> dict[Identity, Any]:
    return {
        (kind, value.meta.key): value
        for kind, reading in KINDS.items()
        for value in getattr(snapshot, reading.shelf)
        if not isinstance(value, Workload) or value.kind == kind
    }


def _snapshot(now: Mapping[Identity, Any], ignored: set[Ignored]) -> Snapshot:
    shelves: dict[str, list[Any]] = {}
    for kind, key in sorted(now, key=lambda identity: identity[::-1]):
        shelves.setdefault(KINDS[kind].shelf, []).append(now[kind, key])
    return Snapshot(
        **{shelf: tuple(values) for shelf, values in shelves.items()},
        ignored=tuple(sorted(ignored, key=lambda each: (each.kind, each.name, each.where.file, each.where.line))),
    )


def _place(problem: Problem) -> tuple[str, int, str, str]:
    return problem.where.file, problem.where.line, problem.field, problem.message
