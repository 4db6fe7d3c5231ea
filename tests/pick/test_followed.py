"""In large fleets a choice looks at what has changed: it must decide as one that looks at everything."""

from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import standing

from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, Rungs, ladder
from headgate.pick import candidates, followed
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.profile import DEFAULT
from headgate.pick.published import PROFILES

NAMES = "abcd"
RUNGS = ladder("m", bytes(range(256)) * 16)
OTHER = ladder("m", bytes(reversed(range(256))) * 16)
WHAT = ["take", "give", "take", "give", "forget", "add", "remove", "record", "many"]
CHANGE = st.tuples(st.sampled_from(WHAT), st.sampled_from([*NAMES, "of another pool"]))
STEP = st.tuples(st.lists(CHANGE, max_size=3), st.sampled_from([(), (), RUNGS, OTHER]), st.floats(0, 0.999))
LOADS = st.lists(
    st.builds(Load, waiting=st.integers(0, 3), running=st.integers(0, 3), kv_usage=st.sampled_from([0.1, 0.9])),
    min_size=len(NAMES),
    max_size=len(NAMES),
)


class Side:
    """A pool of its own, followed or not."""

    def __init__(self, loads: list[Load], large: int) -> None:
        self.ledger, self.index, self.large = Ledger(), PrefixIndex(), large
        self.pool = standing(dict(zip(NAMES, loads, strict=True)), ledger=self.ledger, index=self.index)

    def change(self, what: str, about: str) -> None:
        if what == "record":
            self.index.record(RUNGS, about)
        elif what == "many":
            for _ in range(40):
                self.ledger.take(about)
        elif what in ("add", "remove"):
            getattr(self.ledger, what)(about, 3)
        else:
            getattr(self.ledger, what)(about)

    def choose(self, prefix: Rungs, profile: str, dice: float) -> object:
        with patch.object(candidates, "LARGE", self.large):
            found = choose(Ask("m", prefix, prompt_bytes=4096), self.pool, PROFILES[profile], lambda: dice)
        scored = tuple(map(tuple, found.scored))
        return found.endpoint, tuple(found.in_flight), scored, found.totals, found.tied


@pytest.mark.parametrize("profile", ["default", "inference-extension-default"])
@settings(max_examples=150)
@given(LOADS, st.lists(STEP, max_size=12), st.sampled_from([2, 4096]))
def test_decisions_are_those_of_who_looks_at_everything(profile, loads, steps, remembered):
    everything, changes = Side(loads, 1000), Side(loads, 2)
    with patch("headgate.fleet.ledger._JOURNAL", remembered):
        for between, prefix, dice in steps:
            for what, about in between:
                everything.change(what, about)
                changes.change(what, about)
            assert everything.choose(prefix, profile, dice) == changes.choose(prefix, profile, dice)


def test_a_decision_stays_as_it_was():
    side = Side([Load(waiting=0, running=0)] * len(NAMES), 2)
    with patch.object(candidates, "LARGE", 2):
        before = choose(Ask("m"), side.pool, DEFAULT, lambda: 0.0)
        side.ledger.take("a")
        side.ledger.take("a")
        after = choose(Ask("m"), side.pool, DEFAULT, lambda: 0.0)
    assert tuple(before.in_flight) == (0,) * len(NAMES)
    assert tuple(after.in_flight) == (2, 0, 0, 0)
    assert before.totals != after.totals


def test_few_endpoints_and_counts_of_several_processes_are_looked_at_as_they_are():
    side = Side([Load()] * len(NAMES), followed.LARGE)
    among = side.pool.field(Ask("m"), DEFAULT).among
    assert among is not None
    assert among.followed is None
