"""InferenceModelRewrites: rules that send a request for one model to others, by weight."""

from collections.abc import Iterable, Mapping

from headgate.api.inference import InferenceModelRewrite, RewriteRule
from headgate.plan.conditions import Fault, met, together, unknown
from headgate.plan.lookup import Lookup, pool_of
from headgate.plan.models import weigh
from headgate.plan.plan import ModelRule, Status
from headgate.plan.precedence import age


def gather_rewrites(
    written: Iterable[InferenceModelRewrite], look: Lookup
) -> tuple[Mapping[str, tuple[ModelRule, ...]], list[Status]]:
    """The rules of each pool, in order of precedence: those that name models before those for every model, then the
    oldest object's, then by name, then as written.
    """
    exact: dict[str, list[ModelRule]] = {}
    generic: dict[str, list[ModelRule]] = {}
    statuses: list[Status] = []
    for one in sorted(written, key=lambda one: (age(one.meta), one.group)):
        pool = pool_of(look, one.pool_ref, one.meta.namespace)
        if isinstance(pool, Fault):
            condition = unknown("Accepted", pool.reason, pool.message)
        else:
            for rule in one.rules:
                models = _models(rule)
                targets = weigh((target.model_rewrite, target.weight) for target in rule.targets)
                by_pool = exact if models else generic
                by_pool.setdefault(pool.meta.key, []).append(ModelRule(one.meta.key, models, targets))
            condition = met("Accepted", message=together(_unpicked(one)))
        statuses.append(Status("InferenceModelRewrite", one.meta.key, (condition,)))
    pools = exact.keys() | generic.keys()
    return {pool: (*exact.get(pool, ()), *generic.get(pool, ())) for pool in pools}, statuses


def _models(rule: RewriteRule) -> tuple[str, ...]:
    """The models that a rule names."""
    return tuple(dict.fromkeys(match.model.value for match in rule.matches))


def _unpicked(one: InferenceModelRewrite) -> Iterable[str]:
    for index, rule in enumerate(one.rules):
        without = [target.model_rewrite for target in rule.targets if target.weight is None]
        if without and len(without) < len(rule.targets):
            yield f"rules[{index}]: {', '.join(without)} has no weight beside others that have: never picked"
