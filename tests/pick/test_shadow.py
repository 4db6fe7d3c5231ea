"""A second policy in the shadow of the one that counts."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import standing

from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.fleet.slow_start import Young
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.draws import at_random
from headgate.pick.hold import hold
from headgate.pick.profile import DEFAULT, Profile
from headgate.pick.shadow import Shadow, Tally, merged
from headgate.pick.standing import Standing

QUEUE = Profile("queue", (("queue-scorer", 1.0),))
CACHE = Profile("cache", (("kv-cache-utilization-scorer", 1.0),))
RANDOM = Profile("random", (), draw=at_random)


def seen(shadow, moment, profile, die=0.0):
    ask = Ask("m")
    decision = choose(ask, moment, profile, lambda: die)
    shadow.see(ask, moment, decision)
    return decision


def test_it_counts_what_it_would_have_done_otherwise_what_that_is_worth_and_why():
    shadow = Shadow(CACHE, 1.0, lambda: 0.0)
    seen(shadow, standing({"a": Load(0, 0, 0.75), "b": Load(4, 0, 0.25)}), QUEUE)
    seen(shadow, standing({"a": Load(0, 0, 0.25), "b": Load(4, 0, 0.75)}), QUEUE)
    assert shadow.tally == Tally("cache", 2, 1, 2, 0.5, 1.0, {"queue-scorer": 1})


LOADS = st.builds(Load, st.integers(0, 9), st.integers(0, 9), st.floats(0, 1))


@given(st.lists(st.lists(LOADS, min_size=1, max_size=5), min_size=1, max_size=8), st.integers(0, 99))
def test_the_live_policy_does_as_it_would_without_it(moments, seed):
    """The same dice, ledger and prefixes, the same decisions."""

    def live(shadow):
        dice, ledger, index = random.Random(seed), Ledger(), PrefixIndex()
        chosen = []
        for number, loads in enumerate(moments):
            moment = standing({chr(97 + at): load for at, load in enumerate(loads)}, ledger=ledger, index=index)
            for again in range(3):
                ask = Ask("m", ladder("m", bytes([number % 3]) * 600))
                profile = DEFAULT if again < 2 else RANDOM
                decision = choose(ask, moment, profile, dice.random)
                if shadow is not None:
                    shadow.see(ask, moment, decision)
                assert decision.endpoint is not None
                chosen.append((decision.endpoint.name, decision.totals))
                ledger.take(decision.endpoint.name)
                index.record(ask.prefix, decision.endpoint.name)
        return chosen

    shadow = Shadow(CACHE, 1.0, random.Random(seed).random)
    assert live(shadow) == live(None)
    assert shadow.tally.requests == 3 * len(moments)


@given(st.lists(st.lists(LOADS, min_size=2, max_size=5), min_size=1, max_size=8))
def test_of_itself_it_differs_by_chance_alone(moments):
    shadow = Shadow(DEFAULT, 1.0, random.Random(1).random)
    for loads in moments:
        seen(shadow, standing({chr(97 + at): load for at, load in enumerate(loads)}), DEFAULT, die=0.9)
    tally = shadow.tally
    assert tally.weighed == tally.requests == len(moments)
    assert set(tally.reasons) <= {"chance"}
    assert (tally.regret, tally.cost) == pytest.approx((0.0, 0.0))  # each sums up in an order of its own


def test_it_sees_a_share_of_the_requests():
    shadow = Shadow(CACHE, 0.25, random.Random(7).random)
    moment = standing({"a": Load(0, 0, 0.75), "b": Load(4, 0, 0.25)})
    for _ in range(2000):
        seen(shadow, moment, QUEUE)
    assert 400 < shadow.tally.requests < 600


def test_a_session_is_none_of_its_business():
    shadow, moment = Shadow(CACHE, 1.0, lambda: 0.0), standing({"a": Load(0), "b": Load(4)})
    held = hold(Ask("m"), moment, QUEUE, "b")
    assert held is not None
    shadow.see(Ask("m"), moment, held)
    assert shadow.tally.requests == 0


def test_who_has_just_begun_is_spared_for_both_or_neither():
    young = Young("b", 0.0)
    young.share = 0.5
    moment = standing({"a": Load(4), "b": Load(0)})
    moment = Standing("ns/pool", moment.endpoints, {"a": Load(4), "b": Load(0)}, Ledger(), PrefixIndex(), (young,))
    shadow, served = Shadow(QUEUE, 1.0, lambda: 0.0), set()
    for _ in range(10):
        decision = seen(shadow, moment, QUEUE)
        assert decision.endpoint is not None
        served.add(decision.endpoint.name)
    assert served == {"a", "b"}
    assert (shadow.tally.requests, shadow.tally.same) == (10, 10)


def test_what_each_remembers_of_a_moment_is_its_own():
    """Else each choice would undo what the other has prepared, at 20 times the price."""
    moment, shadow = standing({"a": Load(0), "b": Load(4)}), Shadow(CACHE, 1.0, lambda: 0.0)
    first = seen(shadow, moment, QUEUE)
    assert seen(shadow, moment, QUEUE).basis is first.basis


def test_tallies_of_several_processes_add_up():
    found: dict[str, Tally] = {}
    merged({"p": Tally("x", 3, 1, 2, 0.5, 0.25, {"a": 2})}, found)
    merged({"p": Tally("x", 1, 0, 1, 0.5, 0.25, {"a": 1, "b": 1}), "q": Tally("x", 1)}, found)
    assert found == {"p": Tally("x", 4, 1, 3, 1.0, 0.5, {"a": 3, "b": 1}), "q": Tally("x", 1)}
