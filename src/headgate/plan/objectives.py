"""InferenceObjectives: the priority that a request gets when it names one in a header."""

from collections.abc import Iterable, Mapping

from headgate.api.inference import InferenceObjective
from headgate.plan.conditions import Fault, met, unknown, unmet
from headgate.plan.lookup import Lookup, pool_of
from headgate.plan.plan import Condition, Status
from headgate.plan.precedence import age


def gather_objectives(
    written: Iterable[InferenceObjective], look: Lookup
) -> tuple[Mapping[str, Mapping[str, int]], list[Status]]:
    """The priorities of each pool by the objective's name; 0 where none was written."""
    pools: dict[str, dict[str, int]] = {}
    statuses: list[Status] = []
    for one in sorted(written, key=lambda one: (age(one.meta), one.group)):
        pool = pool_of(look, one.pool_ref, one.meta.namespace)
        condition: Condition
        if isinstance(pool, Fault):
            condition = unknown("Accepted", pool.reason, pool.message)
        elif one.meta.name in pools.setdefault(pool.meta.key, {}):
            told = f"an InferenceObjective of this name in another API group is older; {one.group} is not read"
            condition = unmet("Accepted", "Conflicted", told)
        else:
            pools[pool.meta.key][one.meta.name] = one.priority or 0
            condition = met("Accepted")
        statuses.append(Status("InferenceObjective", one.meta.key, (condition,)))
    return {pool: dict(sorted(objectives.items())) for pool, objectives in pools.items()}, statuses
