"""From files to a plan, again and again: the newest good reading, and what is wrong with the text."""

from collections.abc import Mapping
from time import time

from msgspec import Struct

from headgate.api import Problem, Snapshot, load
from headgate.api.workload import Secret
from headgate.plan import Plan, Statuses, translate
from headgate.runtime.certificates import examine
from headgate.runtime.complaints import complaints
from headgate.runtime.sources import Sources


class Reading(Struct, frozen=True):
    """One reading of all files. `plan` and `statuses` are those of `snapshot`; `fit` are Secrets with certificates."""

    snapshot: Snapshot = Snapshot()
    plan: Plan = Plan()
    statuses: Statuses = ()
    problems: tuple[Problem, ...] = ()
    fit: Mapping[str, Secret] = {}

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")


def read(sources: Sources, before: Reading | None = None) -> Reading:
    """Read everything; objects that are wrong now stay as they were `before`."""
    texts, unread = sources.read()
    snapshot, problems = load(texts, before.snapshot if before else None)
    examined = examine(snapshot, before.fit if before else {}, time())
    plan, statuses = translate(snapshot, examined.findings)
    return Reading(snapshot, plan, statuses, (*unread, *problems, *examined.problems), examined.fit)


def remarks(reading: Reading) -> list[str]:
    """Everything that should be told about a reading, a line each: mistakes, statuses, and what means nothing here."""
    lines = [remark(problem) for problem in reading.problems]
    lines += complaints(reading.statuses)
    kinds: dict[str, int] = {}
    for ignored in reading.snapshot.ignored:
        kinds[ignored.kind] = kinds.get(ignored.kind, 0) + 1
    if kinds:
        names = ", ".join(f"{kind} ({count})" if count > 1 else kind for kind, count in sorted(kinds.items()))
        lines.append(f"Read, and without meaning on one machine: {names}")
    return lines


def remark(problem: Problem) -> str:
    return str(problem) if problem.severity == "error" else f"{problem} [{problem.severity}]"


def in_data(problem: Problem) -> dict[str, object]:
    """The same for programs."""
    return {
        "file": problem.where.file,
        "line": problem.where.line,
        "field": problem.field,
        "severity": problem.severity,
        "message": problem.message,
        "object": problem.object,
    }
