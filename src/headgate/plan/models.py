"""InferenceModels: which names a pool is asked for, how much each matters, and what its servers call it."""

from collections.abc import Iterable, Mapping

from headgate.api.inference import InferenceModel
from headgate.plan.conditions import Fault, met, unknown, unmet
from headgate.plan.lookup import Lookup, pool_of
from headgate.plan.plan import Condition, Model, Status, Target
from headgate.plan.precedence import age

PRIORITIES = {"Critical": 1, "Standard": 0, "Sheddable": -1}


def gather_models(
    written: Iterable[InferenceModel], look: Lookup
) -> tuple[Mapping[str, Mapping[str, Model]], list[Status]]:
    """The models of each pool by name. Of those that claim one name in one pool the oldest has it."""
    owners: dict[tuple[str, str], str] = {}
    pools: dict[str, dict[str, Model]] = {}
    statuses: list[Status] = []
    for one in sorted(written, key=lambda one: age(one.meta)):
        pool = pool_of(look, one.pool_ref, one.meta.namespace)
        if isinstance(pool, Fault):
            condition = unknown("Accepted", pool.reason, pool.message)
        else:
            owner = owners.setdefault((pool.meta.key, one.model_name), one.meta.key)
            condition = _accepted(one, owner, pool.meta.key)
            if owner == one.meta.key:
                pools.setdefault(pool.meta.key, {})[one.model_name] = _model(one)
        statuses.append(Status("InferenceModel", one.meta.key, (condition,)))
    return {pool: dict(sorted(models.items())) for pool, models in pools.items()}, statuses


def _accepted(one: InferenceModel, owner: str, pool: str) -> Condition:
    if owner == one.meta.key:
        return met("Accepted")
    return unmet(
        "Accepted", "ModelNameInUse", f"{owner} has the name {one.model_name} in {pool}; choose another modelName"
    )


def _model(one: InferenceModel) -> Model:
    pairs = [(target.name, target.weight) for target in one.target_models]
    return Model(one.model_name, PRIORITIES[one.criticality or "Standard"], weigh(pairs))


def weigh(pairs: Iterable[tuple[str, int | None]]) -> tuple[Target, ...]:
    """Models with their weights: equal where none was written; where some were, those without one are never picked."""
    pairs = tuple(pairs)
    if all(weight is None for _, weight in pairs):
        return tuple(Target(model) for model, _ in pairs)
    return tuple(Target(model, weight) for model, weight in pairs if weight is not None)
