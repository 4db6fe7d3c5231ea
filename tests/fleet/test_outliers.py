"""Outlier ejection: when, for how long, and how many of a pool."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.fleet.outliers import Ejection, EjectionRule, Outliers, kept_out

RULE = EjectionRule(failures=3, first_s=10.0, longest_s=60.0)


def fail(outliers: Outliers, times: int, now: float = 0.0, name: str = "a") -> list[Ejection]:
    """The ejections that so many failures bring."""
    found = [outliers.failed(name, f"failure {n}", now) for n in range(1, times + 1)]
    return [ejection for ejection in found if ejection is not None]


def test_failures_in_a_row_eject_and_say_why():
    outliers = Outliers(RULE)
    assert fail(outliers, 2) == []
    assert fail(outliers, 1, 5.0) == [Ejection("a", 5.0, 15.0, 1, "failure 1")]
    assert list(outliers.ejected(14.9)) == ["a"]
    assert outliers.ejected(15.0) == {}


def test_a_success_in_between_begins_the_row_anew():
    outliers = Outliers(RULE)
    for _ in range(10):
        assert fail(outliers, 2) == []
        assert outliers.passed("a", 0.0) is False
    assert outliers.failing == {}, "nothing is kept of who is fine"


def test_each_ejection_lasts_twice_as_long_as_the_one_before_up_to_a_limit():
    outliers = Outliers(RULE)
    (ejection,) = fail(outliers, 3)
    lengths = [ejection.until - ejection.at]
    for _ in range(4):
        (ejection,) = fail(outliers, 1, ejection.until)
        lengths.append(ejection.until - ejection.at)
    assert lengths == [10, 20, 40, 60, 60]


def test_one_that_has_been_ejected_is_out_again_at_its_first_failure_until_it_serves():
    outliers = Outliers(RULE)
    fail(outliers, 3)
    assert [e.number for e in fail(outliers, 1, 10.0)] == [2]
    assert outliers.passed("a", 31.0), "it serves again"
    assert not outliers.passed("a", 32.0), "that is told once"
    assert fail(outliers, 2, 33.0) == [], "and it has its whole row again"
    assert [e.number for e in fail(outliers, 1, 33.0)] == [3], "while how long it was out is not forgotten"


def test_ejections_are_forgotten_after_as_long_a_time_of_health():
    outliers = Outliers(RULE)
    fail(outliers, 3)
    outliers.passed("a", 12.0)
    assert outliers.failing
    outliers.passed("a", 20.0)
    assert outliers.failing == {}
    assert [e.number for e in fail(outliers, 3, 21.0)] == [1]


def test_what_fails_during_an_ejection_does_not_make_it_longer():
    outliers = Outliers(RULE)
    (ejection,) = fail(outliers, 3)
    assert fail(outliers, 50, 9.0) == []
    assert outliers.ejected(9.5) == {"a": ejection}


def test_what_is_asked_during_an_ejection_and_fails_keeps_the_endpoint_out():
    outliers = Outliers(RULE)
    fail(outliers, 3)
    assert outliers.failed("a", "silent", 3.0, probe=True) is None
    assert outliers.ejected(9.9)
    assert not outliers.ejected(10.0), "it is out that long anyway"
    assert outliers.failed("a", "silent", 9.0, probe=True) is None
    assert outliers.ejected(13.9)
    assert not outliers.ejected(14.0)


def test_a_success_ends_an_ejection():
    outliers = Outliers(RULE)
    fail(outliers, 3)
    assert outliers.passed("a", 4.0)
    assert outliers.ejected(4.0) == {}


def test_what_is_forgotten_is_new():
    outliers = Outliers(RULE)
    fail(outliers, 3)
    outliers.forget("a")
    assert outliers.ejected(1.0) == {}
    assert fail(outliers, 2, 1.0) == []


def test_nothing_is_ejected_where_the_rule_says_never():
    outliers = Outliers(EjectionRule(failures=0))
    assert fail(outliers, 1000) == []
    assert outliers.failing == {}


def test_an_endpoint_that_never_serves_again_can_be_ejected_any_number_of_times():
    outliers = Outliers(RULE)
    (ejection,) = fail(outliers, 3)
    for _ in range(3000):
        (ejection,) = fail(outliers, 1, ejection.until)
    assert ejection.until - ejection.at == 60.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0.1, 30)), max_size=60), st.integers(1, 4))
def test_an_ejection_never_comes_before_its_row_and_none_overlaps_another(moves, failures):
    outliers = Outliers(EjectionRule(failures, 10.0, 60.0))
    now, rows, until = 0.0, dict.fromkeys("abc", 0), dict.fromkeys("abc", 0.0)
    ejected_before = set()
    for name, passes, later in moves:
        now += later
        if passes:
            outliers.passed(name, now)
            rows[name], until[name] = 0, min(until[name], now)
            ejected_before.discard(name)
        else:
            rows[name] += now >= until[name]
            ejection = outliers.failed(name, "", now)
            if ejection is not None:
                assert now >= until[name]
                assert rows[name] >= (1 if name in ejected_before else failures)
                assert 9.99 < ejection.until - ejection.at < 60.01
                rows[name], until[name] = 0, ejection.until
                ejected_before.add(name)
        assert set(outliers.ejected(now)) == {one for one in "abc" if until[one] > now}


@pytest.mark.parametrize(("serving", "out"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_of_a_pool_is_out(serving, out):
    names = "abcde"[:serving]
    ejected = {name: Ejection(name, 5.0 - place, 100.0, 1, "") for place, name in enumerate("abcdef")}
    assert kept_out(names, ejected) == set(names[len(names) - out :]), "those that were ejected first"


@given(st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh")), st.randoms(use_true_random=False))
def test_who_is_out_does_not_depend_on_the_order_of_the_pool(serving, failing, chance):
    ejected = {name: Ejection(name, 0.0, 1.0, 1, "") for name in failing}
    shuffled = sorted(serving)
    chance.shuffle(shuffled)
    out = kept_out(shuffled, ejected)
    assert out == kept_out(sorted(serving), ejected)
    assert out <= serving & failing
    assert 2 * len(out) <= len(serving)
