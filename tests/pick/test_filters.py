"""Filters remove what can't serve, and say what they removed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pools import endpoint, served, standing

from headgate.fleet.endpoint import Load
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.filters import FILTERS, sift
from headgate.pick.profile import DEFAULT


def kept(ask, loads, **more):
    return [one.name for one in choose(ask, standing(loads, **more), DEFAULT, lambda: 0.0).candidates]


def refusal(ask, loads, **more):
    decision = choose(ask, standing(loads, **more), DEFAULT, lambda: 0.0)
    assert decision.endpoint is None
    return decision.emptied, decision.why, dict(decision.removed)


def test_only_endpoints_that_are_ready_and_not_draining_serve():
    loads = {name: Load() for name in "abc"}
    assert kept(Ask("m"), loads, a={"ready": False}, b={"draining": True}) == ["c"]


def test_an_endpoint_that_is_known_to_lack_the_model_does_not_serve_it():
    loads = {"a": Load(models=served("other")), "b": Load(models=served("m")), "c": Load()}
    assert kept(Ask("m"), loads) == ["b", "c"]
    assert kept(Ask(""), loads) == ["a", "b", "c"]


def test_endpoints_that_the_request_failed_on_are_not_tried_again():
    assert kept(Ask("m", exclude=frozenset({"a", "c"})), {name: Load() for name in "abc"}) == ["b"]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"10.0.0.1"}, "ab"),
        ({"10.0.0.1:8000"}, "a"),
        ({" 10.0.0.1:8001 "}, "b"),
        ({"10.0.0.1:9"}, ""),
        ({"10.0.0.9", "fd00::1"}, "c"),
        ({"[fd00::1]"}, "c"),
        ({"[fd00::1]:8000"}, "c"),
        ({"[FD00:0:0:0:0:0:0:1]:8000"}, "c"),
        ({"fd00:0::1"}, "c"),
        ({"[fd00::1]:8001"}, ""),
        ({"model-server:8000", "10.0.0.1:8001"}, "bd"),
        (set(), ""),
        ({""}, ""),
    ],
)
def test_a_subset_names_endpoints_by_address_with_or_without_port(entries, expected):
    endpoints = [
        endpoint("a", address="10.0.0.1"),
        endpoint("b", address="10.0.0.1", port=8001),
        endpoint("c", address="fd00::1"),
        endpoint("d", address="model-server"),
    ]
    found, _, _ = sift(Ask("m", subset=frozenset(entries)), endpoints, [Load()] * 4, ["subset"])
    assert "".join(one.name for one in found) == expected


def test_a_pool_without_endpoints_says_so():
    assert refusal(Ask("m"), {}) == ("", "pool ns/pool has no endpoints", {})


def test_the_filter_that_removed_the_last_endpoint_is_named():
    loads = {"a": Load(models=served("x")), "b": Load()}
    assert refusal(Ask("m"), loads, b={"ready": False}) == (
        "serves-model",
        "no endpoint of pool ns/pool serves the model m",
        {"ready": ("b",), "serves-model": ("a",)},
    )
    assert refusal(Ask("x", exclude=frozenset("a")), loads, b={"ready": False})[0] == "not-tried"
    assert refusal(Ask("x", subset=frozenset()), loads)[0] == "subset"
    assert refusal(Ask("x"), loads, a={"ready": False}, b={"ready": False})[0] == "ready"
    assert refusal(Ask("x"), loads, a={"draining": True}, b={"draining": True})[0] == "not-draining"


ENDPOINTS = st.builds(
    lambda number, ready, draining: endpoint("e", address=f"10.0.0.{number}", ready=ready, draining=draining),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
)
PAIRS = st.lists(st.tuples(ENDPOINTS, st.builds(Load, models=st.sampled_from([None, (), served("m")]))), max_size=6)
SUBSETS = st.one_of(st.none(), st.frozensets(st.sampled_from([f"10.0.0.{n}" for n in range(4)])))


@given(PAIRS, SUBSETS, st.lists(st.sampled_from(sorted(FILTERS)), unique=True))
def test_filters_only_remove_and_account_for_all_that_they_removed(pairs, subset, names):
    endpoints = [replace(one, name=f"e{n}") for n, (one, _) in enumerate(pairs)]
    found, loads, removed = sift(Ask("m", subset=subset), endpoints, [load for _, load in pairs], names)
    gone = [name for names_gone in removed.values() for name in names_gone]
    assert sorted([one.name for one in found] + gone) == [one.name for one in endpoints]
    assert [pairs[int(one.name[1:])][1] for one in found] == loads
    assert list(removed) == [name for name in names if name in removed]


def test_an_ejected_endpoint_gets_requests_only_where_nobody_else_is_left():
    loads = {"a": Load(models=served("m", "x")), "b": Load(models=served("m")), "c": Load(models=served("m"))}
    ejected = {"a": {"ejected": True}}
    assert kept(Ask("m"), loads, **ejected) == ["b", "c"]
    assert kept(Ask("x"), loads, **ejected) == ["a"], "it alone serves the model"
    assert kept(Ask("m", exclude=frozenset("bc")), loads, **ejected) == ["a"], "the others have failed"
    assert kept(Ask("m"), loads, a={"ejected": True}, b={"ready": False}, c={"draining": True}) == ["a"]
    decision = choose(Ask("m"), standing(loads, **ejected), DEFAULT, lambda: 0.0)
    assert decision.removed == {"not-ejected": ("a",)}
