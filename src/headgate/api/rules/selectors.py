"""Label selectors: what they must say, and what they match."""

from collections.abc import Iterator, Mapping

from headgate.api.fault import Fault, Path
from headgate.api.gateway import Expression, LabelSelector


def check(selector: LabelSelector, path: Path) -> Iterator[Fault]:
    for i, expression in enumerate(selector.match_expressions):
        place = (*path, "matchExpressions", i, "values")
        if expression.operator in ("In", "NotIn") and not expression.values:
            yield Fault(place, f"missing: write the values that {expression.operator} compares with")
        if expression.operator in ("Exists", "DoesNotExist") and expression.values:
            yield Fault(place, f"{expression.operator} looks at the key alone: remove `values`")


def empty(selector: LabelSelector) -> bool:
    return not selector.match_labels and not selector.match_expressions


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether the selector selects what has these labels. An empty one selects everything."""
    same = all(labels.get(key) == value for key, value in selector.match_labels.items())
    return same and all(_holds(expression, labels) for expression in selector.match_expressions)


def _holds(expression: Expression, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.key)
    match expression.operator:
        case "In":
            return value in expression.values
        case "NotIn":
            return value not in expression.values
        case "Exists":
            return value is not None
    return value is None
