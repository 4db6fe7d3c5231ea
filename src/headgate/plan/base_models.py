"""Which base model a model name belongs to, as ConfigMaps for body-based routing say.

A ConfigMap counts when it is labelled `inference.networking.k8s.io/bbr-managed: "true"`; its `baseModel` is one name,
its `adapters` a YAML list of names (Gateway API Inference Extension, body-based routing).
"""

from collections.abc import Iterable, Mapping

import yaml

from headgate.api.workload import ConfigMap
from headgate.plan.conditions import Fault, met, together, unmet
from headgate.plan.plan import Condition, Status
from headgate.plan.precedence import age

LABEL = "inference.networking.k8s.io/bbr-managed"


def gather_base_models(written: Iterable[ConfigMap]) -> tuple[Mapping[str, str], list[Status]]:
    """Each adapter's (and base model's) base model. Where two ConfigMaps differ the oldest is believed."""
    bases: dict[str, str] = {}
    statuses: list[Status] = []
    for one in sorted(written, key=lambda one: age(one.meta)):
        if one.meta.labels.get(LABEL) != "true":
            continue
        names = _names(one)
        condition: Condition
        if isinstance(names, Fault):
            condition = unmet("Accepted", names.reason, names.message)
        else:
            base = names[0]
            taken = [
                f"{name} has the base model {bases[name]} already" for name in names if bases.get(name, base) != base
            ]
            for name in names:
                bases.setdefault(name, base)
            condition = met("Accepted", message=together(taken))
        statuses.append(Status("ConfigMap", one.meta.key, (condition,)))
    return dict(sorted(bases.items())), statuses


def _names(one: ConfigMap) -> tuple[str, ...] | Fault:
    """The base model, then its adapters."""
    base = one.data.get("baseModel", "").strip()
    if not base:
        return Fault("Invalid", "data.baseModel is missing; write the name of the base model")
    try:
        adapters = yaml.load(one.data.get("adapters", ""), Loader=yaml.BaseLoader)  # names only: 1.0 is one
    except (yaml.YAMLError, RecursionError):
        adapters = ""
    if adapters is None:
        return (base,)
    if not isinstance(adapters, list) or not all(isinstance(name, str) and name for name in adapters):
        return Fault("Invalid", "data.adapters must be a YAML list of names, one per line: - my-adapter")
    return (base, *adapters)
