"""The small questions that a translation asks: durations, hostnames, labels, ages."""

import pytest

from headgate.api.gateway import Expression, LabelSelector
from headgate.api.meta import Meta
from headgate.plan.durations import seconds
from headgate.plan.hostnames import covers, generality, intersect
from headgate.plan.labels import selects
from headgate.plan.precedence import age


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10s", 10.0),
        ("1m30s", 90.0),
        ("500ms", 0.5),
        ("1h", 3600.0),
        ("0s", 0.0),
        ("1h1m1s1ms", 3661.001),
        ("5s5s", 10.0),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "10", "1.5s", "s", "-1s", "100000s", "1d", "10 s", "1s1s1s1s1s", "1us"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write"):
        seconds(text)


@pytest.mark.parametrize(
    ("listener", "route", "both"),
    [
        ("", (), ()),
        ("", ("a.com", "*.b.com"), ("*.b.com", "a.com")),
        ("a.com", (), ("a.com",)),
        ("*.com", (), ("*.com",)),
        ("a.com", ("*.com",), ("a.com",)),
        ("*.com", ("a.com", "x.a.com", "*.a.com", "b.org"), ("*.a.com", "a.com", "x.a.com")),
        ("*.a.com", ("*.com",), ("*.a.com",)),
        ("A.com", ("a.COM",), ("a.com",)),
        ("*.a.com", ("a.com",), None),
        ("a.com", ("b.com",), None),
        ("*.a.com", ("*.b.com", "xa.com"), None),
    ],
)
def test_a_route_answers_to_the_hostnames_that_it_shares_with_its_listener(
    listener: str, route: tuple[str, ...], both: tuple[str, ...] | None
) -> None:
    assert intersect(listener, route) == both


def test_a_wildcard_covers_names_below_it_but_not_its_own() -> None:
    assert covers("*.a.com", "x.y.a.com")
    assert covers("*.com", "*.a.com")
    assert not covers("*.a.com", "a.com")
    assert not covers("*.a.com", "*.com")
    assert not covers("a.com", "")


def test_hostnames_sort_exact_then_long_wildcards_then_short_ones_then_any() -> None:
    names = ["", "*.com", "a.b", "*.a.com"]
    assert sorted(names, key=generality) == ["a.b", "*.a.com", "*.com", ""]


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        (Expression("stage", "In", ("test", "prod")), True),
        (Expression("stage", "In", ("dev",)), False),
        (Expression("none", "In", ("dev",)), False),
        (Expression("stage", "NotIn", ("prod",)), False),
        (Expression("none", "NotIn", ("prod",)), True),
        (Expression("stage", "Exists"), True),
        (Expression("none", "Exists"), False),
        (Expression("stage", "DoesNotExist"), False),
        (Expression("none", "DoesNotExist"), True),
    ],
)
def test_an_expression_holds_or_not(expression: Expression, holds: bool) -> None:
    assert selects(LabelSelector(match_expressions=(expression,)), {"stage": "prod"}) is holds


def test_all_of_a_selector_must_hold_and_an_empty_one_does() -> None:
    assert selects(LabelSelector(), {})
    assert selects(LabelSelector({"a": "1"}, (Expression("b", "Exists"),)), {"a": "1", "b": ""})
    assert not selects(LabelSelector({"a": "1"}, (Expression("b", "Exists"),)), {"a": "1"})
    assert not selects(LabelSelector({"a": "1", "c": "2"}), {"a": "1"})


def test_ages_compare_times_not_their_spelling_and_no_time_is_the_youngest() -> None:
    early, late = Meta("z", created="2025-01-01T01:00:00+02:00"), Meta("a", created="2025-01-01T00:00:00Z")
    never = Meta("0")
    assert sorted((never, late, early), key=age) == [early, late, never]
    assert age(Meta("a", created="2025-01-01T00:00:00")) == age(late)


@pytest.mark.parametrize("created", ["", "yesterday", "2025-13-01T00:00:00Z", "2025-01-01T25:00:00Z"])
def test_what_is_no_time_is_as_young_as_no_time_at_all(created: str) -> None:
    assert age(Meta("a", created=created)) == age(Meta("a"))
    assert age(Meta("a", created="9999-12-31T23:59:59-23:59")) < age(Meta("a", created=created))
