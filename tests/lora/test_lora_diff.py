"""Steps lead from what a server has to what it should have, and touch nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.lora.config import Adapter, Desired
from headgate.lora.diff import Load, Unload, diff, pause

NAMES = st.sampled_from("abcdef")
SOURCES = st.sampled_from(["s1", "s2", "s3"])


@st.composite
def desires(draw):
    exist = draw(st.dictionaries(NAMES, SOURCES))
    absent = draw(st.sets(NAMES)) - exist.keys()
    return Desired(exist=tuple(Adapter(*item, base="b") for item in exist.items()), absent=tuple(absent))


def applied(steps, observed):
    """What a vLLM server has after these steps: it refuses to load twice, and to unload what it does not have."""
    have = dict(observed)
    for step in steps:
        if isinstance(step, Unload):
            del have[step.name]
        else:
            assert step.replace == (step.name in have)
            have[step.name] = step.source
    return have


@given(desires(), st.dictionaries(NAMES, SOURCES | st.none()))
def test_applying_the_steps_gives_what_is_desired_and_leaves_the_rest_alone(desired, observed):
    have = applied(diff(desired, observed), observed)
    listed = {adapter.id for adapter in desired.exist} | set(desired.absent)
    for adapter in desired.exist:
        assert have[adapter.id] == adapter.source or (have[adapter.id] is None and observed[adapter.id] is None)
    assert not have.keys() & set(desired.absent)
    assert {name: have[name] for name in have.keys() - listed} == {
        name: observed[name] for name in observed.keys() - listed
    }


@given(desires(), st.dictionaries(NAMES, SOURCES | st.none()))
def test_a_server_that_has_all_needs_no_steps(desired, observed):
    assert diff(desired, applied(diff(desired, observed), observed)) == ()


def test_unloading_comes_first_and_the_base_model_travels_along():
    desired = Desired(exist=(Adapter("new", "org/new", "base"),), absent=("old",))
    assert diff(desired, {"old": None}) == (Unload("old"), Load("new", "org/new", "base"))


def test_an_adapter_whose_source_was_edited_is_replaced_and_one_of_unknown_source_is_not():
    desired = Desired(exist=(Adapter("a", "v2"), Adapter("b", "v2")))
    assert diff(desired, {"a": "v1", "b": None}) == (Load("a", "v2", replace=True),)


def test_pauses_double_from_one_second_to_a_minute():
    assert [pause(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 10_000)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
