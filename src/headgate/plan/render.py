"""The plan and the statuses as text: what `headgate translate` prints and the golden files hold.

Values that are their default are left out. Maps and lists that hold no others take one line, so that a condition reads
as a sentence.
"""

from collections.abc import Mapping
from typing import Any

import yaml
from msgspec import NODEFAULT, Struct, structs

from headgate.plan.plan import Plan, Statuses
from headgate.plan.sealed import Sealed

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


def plain(value: Any) -> Any:
    """Structs as dicts without the fields that equal their default (msgspec leaves out only the very same object)."""
    if isinstance(value, Struct):
        shown = [(field.name, getattr(value, field.name), _default(field)) for field in structs.fields(value)]
        return {name: plain(one) for name, one, default in shown if one != default}
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, Sealed):
        return seal(value)
    return [plain(one) for one in value] if isinstance(value, tuple) else value


def seal(value: Any) -> str:
    """What stands for bytes that nobody is shown: private keys are among them. TypeError for any other value."""
    if isinstance(value, Sealed):
        return "sealed"
    raise TypeError(f"no encoder knows {type(value).__name__}")


def _default(field: structs.FieldInfo) -> Any:
    return field.default if field.default_factory is NODEFAULT else field.default_factory()


def _yaml(value: Plan | Statuses) -> str:
    text: str = yaml.dump(
        plain(value),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=_UNBROKEN,
    )
    return text
