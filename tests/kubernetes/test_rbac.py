"""deploy/rbac/gateway.yaml grants what is used, and nothing else."""

from pathlib import Path

import yaml

from headgate.runtime.kubernetes.resources import STATUSES, WANTED

RULES = Path(__file__).parents[2] / "deploy" / "rbac" / "gateway.yaml"
Grant = tuple[str, str, str]  # group, resource, verb


def _granted() -> set[Grant]:
    objects = [one for one in yaml.safe_load_all(RULES.read_text()) if one["kind"] in ("ClusterRole", "Role")]
    return {
        (group, resource, verb)
        for one in objects
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _plural(kind: str) -> str:
    name = kind.lower()
    if name.endswith("cy"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("ss") else f"{name}s"


def test_every_rule_is_used_and_every_use_has_a_rule() -> None:
    read = {*WANTED, ("", "Pod")}
    used = {(group, _plural(kind), verb) for group, kind in read for verb in ("list", "watch")}
    used |= {(group, f"{_plural(kind)}/status", "patch") for group, kind in read if kind in STATUSES}
    used |= {("coordination.k8s.io", "leases", verb) for verb in ("get", "create", "update")}
    used |= {("events.k8s.io", "events", "create")}
    assert _granted() == used
