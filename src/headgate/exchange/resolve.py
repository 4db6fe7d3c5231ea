"""From the model that a client asks a pool for to the model that the server is asked for, and how urgent it is."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from headgate.plan.plan import Pool, Target


class Resolution(Struct, frozen=True, gc=False):
    model: str  # what the server will see
    priority: int = 0  # higher first; below 0 may be shed
    by: str = ""  # what decided the model, for people


def resolve(pool: Pool, model: str, objective: str, dice: Callable[[], float]) -> Resolution:
    """Rewrite rules come before InferenceModels; an objective's priority before that of a model.

    An objective that does not exist counts as priority 0 (InferenceObjective).
    """
    declared = pool.models.get(model)
    priority = declared.priority if declared is not None else 0
    if objective:
        priority = pool.objectives.get(objective, 0)
    for rule in pool.rules:
        if not rule.models or model in rule.models:
            return Resolution(weighted(rule.targets, dice), priority, f"InferenceModelRewrite {rule.name}")
    if declared is not None and declared.targets:
        return Resolution(weighted(declared.targets, dice), priority, f"InferenceModel {declared.name}")
    return Resolution(model, priority)


def settled(pool: Pool, model: str) -> Resolution | None:
    """What `resolve` says for every request of the model without an objective; None where it throws dice."""
    declared = pool.models.get(model)
    if len(declared.targets if declared is not None else ()) > 1 or any(len(rule.targets) > 1 for rule in pool.rules):
        return None
    return resolve(pool, model, "", _no_dice)


def _no_dice() -> float:
    return 0.0


def weighted(targets: Sequence[Target], dice: Callable[[], float]) -> str:
    """One target's model, by weight."""
    if len(targets) == 1:
        return targets[0].model
    mark = dice() * sum(target.weight for target in targets)
    for target in targets:
        mark -= target.weight
        if mark < 0:
            return target.model
    return targets[-1].model
