"""Events: each cause once, a few at a time."""

from headgate.api import Problem, Where
from headgate.plan.plan import Condition, ParentStatus, Status
from headgate.runtime.kubernetes.events import BURST, EVERY_S, Note, Told, due, event, notes


def test_problems_and_bad_conditions_are_told_and_good_ones_not() -> None:
    problem = Problem(Where("HTTPRoute default/r"), "spec.rules", "wrong", object="HTTPRoute default/r")
    note = Problem(Where("Pod x"), "", "means nothing", "note", "Pod default/x")
    bad = Condition("Accepted", "False", "NotAllowedByListeners", "because")
    good = Condition("ResolvedRefs", "True", "ResolvedRefs")
    status = Status("HTTPRoute", "default/r", parents=(ParentStatus("Gateway default/g", (bad, good)),))
    assert notes([problem, note], (status,)) == {
        Note("HTTPRoute", "default/r", "NotReadable", "spec.rules: wrong"),
        Note("HTTPRoute", "default/r", "NotAllowedByListeners", "at Gateway default/g: because"),
    }


def test_a_cause_is_told_once_and_again_when_it_comes_back() -> None:
    one = frozenset({Note("Gateway", "default/g", "Invalid", "x")})
    told, fresh = due(Told(), one, 0.0)
    assert len(fresh) == 1
    told, fresh = due(told, one, 100.0)
    assert fresh == ()
    told, _ = due(told, frozenset(), 200.0)
    assert len(due(told, one, 300.0)[1]) == 1


def test_of_many_at_once_a_few_are_told_and_all_in_the_end() -> None:
    many = frozenset(Note("Gateway", f"default/g{n}", "Invalid", "x") for n in range(50))
    told, fresh = due(Told(), many, 0.0)
    assert len(fresh) == BURST
    told, fresh = due(told, many, 2 * EVERY_S)
    assert len(fresh) == 2
    at = 2 * EVERY_S
    while told.notes != many:
        at += EVERY_S
        told, _ = due(told, many, at)
    assert at <= 50 * EVERY_S


def test_an_event_is_about_its_object() -> None:
    found = event(Note("GatewayClass", "c", "Invalid", "x"), {"uid": "u"}, "by", "me", "now")
    assert found["metadata"] == {"generateName": "c-", "namespace": "default"}
    assert found["regarding"] == {"kind": "GatewayClass", "name": "c", "uid": "u"}
