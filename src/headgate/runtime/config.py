"""From files to a plan, again and again: the newest good reading, and what is wrong with the text."""

from collections.abc import Mapping
from time import time

from msgspec import Struct
from msgspec.structs import replace

from headgate.api import Problem, Snapshot, Where, load
from headgate.api.workload import Secret
from headgate.plan import Plan, Statuses, translate
from headgate.runtime.certificates import examine
from headgate.runtime.complaints import complaints
from headgate.runtime.policies import Policies
from headgate.runtime.sources import Sources


class Reading(Struct, frozen=True):
    """One reading of all files. `plan` and `statuses` are those of `snapshot`; `fit` are Secrets with certificates.

    `shadow` is what stands in the file of the shadow policy, which the plan's pools have.
    """

    snapshot: Snapshot = Snapshot()
    plan: Plan = Plan()
    statuses: Statuses = ()
    problems: tuple[Problem, ...] = ()
    fit: Mapping[str, Secret] = {}
    shadow: Snapshot = Snapshot()

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")


def read(
    sources: Sources,
    before: Reading | None = None,
    shadow: Sources | None = None,
    policies: Policies | None = None,
) -> Reading:
    """Read everything; objects that are wrong now stay as they were `before`. `shadow` has the shadow policy.

    Code of policies is read and run where there are `policies` for it.
    """
    texts, unread = sources.read()
    snapshot, problems = load(texts, before.snapshot if before else None)
    return understand(snapshot, (*unread, *problems), sources, before, shadow, policies)


def understand(
    snapshot: Snapshot,
    problems: tuple[Problem, ...],
    sources: Sources,
    before: Reading | None = None,
    shadow: Sources | None = None,
    policies: Policies | None = None,
) -> Reading:
    """What a snapshot comes to, wherever it is from. `sources` are told which files its policies' code is in."""
    if policies is not None:
        snapshot, unfit, sources.beside = policies.attached(snapshot)
        problems = (*problems, *unfit)
    examined = examine(snapshot, before.fit if before else {}, time())
    plan, statuses = translate(snapshot, examined.findings)
    problems = (*problems, *examined.problems)
    if shadow is None:
        return Reading(snapshot, plan, statuses, problems, examined.fit)
    beside, wrong = _shadow(shadow, before.shadow if before else Snapshot(), policies)
    return Reading(snapshot, _shadowed(plan, beside), statuses, (*problems, *wrong), examined.fit, beside)


def _shadow(sources: Sources, before: Snapshot, policies: Policies | None) -> tuple[Snapshot, tuple[Problem, ...]]:
    texts, unread = sources.read()
    found, problems = load(texts, before)
    if policies is not None:
        found, unfit, sources.beside = policies.attached(found)
        problems = (*problems, *unfit)
    if not found.picker_configs and not unread and not problems:
        problems = (Problem(Where(texts[0].file), "", "holds no EndpointPickerConfig, so there is no shadow policy"),)
    return found, (*unread, *problems)


def _shadowed(plan: Plan, shadow: Snapshot) -> Plan:
    """With the shadow policy in all pools that choose by a policy."""
    if not shadow.picker_configs:
        return plan
    picking = shadow.picker_configs[0].picking
    pools = {
        name: replace(pool, shadow=picking) if pool.kind == "inference" else pool for name, pool in plan.pools.items()
    }
    return replace(plan, pools=pools)


def remarks(reading: Reading) -> list[str]:
    """Everything that should be told about a reading, a line each: mistakes, statuses, and what means nothing here."""
    lines = [remark(problem) for problem in reading.problems]
    lines += complaints(reading.statuses)
    kinds: dict[str, int] = {}
    for ignored in reading.snapshot.ignored:
        kinds[ignored.kind] = kinds.get(ignored.kind, 0) + 1
    if kinds:
        names = ", ".join(f"{kind} ({count})" if count > 1 else kind for kind, count in sorted(kinds.items()))
        lines.append(f"Read, and without meaning here: {names}")
    return lines


class News:
    """What is new in each reading: what was said of the one before is not said again."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def of(self, reading: Reading) -> list[str]:
        lines = remarks(reading)
        new = [text for text in dict.fromkeys(lines) if text not in self._said]
        self._said = set(lines)
        return new


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
