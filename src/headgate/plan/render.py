"""The plan and the statuses as text: what `headgate translate` prints and the golden files hold.

Values that are their default are left out. Maps and lists that hold no others take one line, so that a condition reads
as a sentence.
"""

from typing import Any

import msgspec
import yaml

from headgate.plan.plan import Plan, Statuses

_UNBROKEN = 1 << 20  # columns: a line of YAML for a line of meaning


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # lists stand inside of what they belong to


def plan_yaml(plan: Plan) -> str:
    return _yaml(plan)


def status_yaml(statuses: Statuses) -> str:
    return _yaml(statuses)


def translation_yaml(plan: Plan, statuses: Statuses) -> str:
    """Both, as two YAML documents: the plan, then the statuses."""
    return f"{plan_yaml(plan)}---\n{status_yaml(statuses)}"


def _yaml(value: Plan | Statuses) -> str:
    text: str = yaml.dump(
        msgspec.to_builtins(value),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=_UNBROKEN,
    )
    return text
