"""A rehearsal that passes over uneventful steps is the one that takes each of them."""

from random import Random
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from test_trial import SMALL, requests

from headgate.sim.engine import Engine
from headgate.trial.outcome import Outcome
from headgate.trial.policies import POLICIES
from headgate.trial.run import run


@settings(max_examples=60, deadline=None)
@given(requests, st.sampled_from(sorted(POLICIES)), st.integers(1, 4), st.integers(0, 99))
def test_passing_over_steps_changes_nothing(asked, policy, endpoints, seed):
    def rehearsed() -> list[Outcome]:
        return run(asked, POLICIES[policy](), SMALL, endpoints, Random(seed).random)

    passing = rehearsed()
    with patch.object(Engine, "foresee", lambda self: self.next_at), patch.object(Engine, "coast", lambda *_: None):
        assert rehearsed() == passing
