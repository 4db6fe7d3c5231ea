"""Who writes: a Lease on virtual time."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headgate.runtime.kubernetes.lease import DURATION_S, Seen, decide, held_by, leads, released


def _lease(holder: str, renewed: str, **more: Any) -> dict[str, Any]:
    spec = {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": DURATION_S, **more}
    return {"metadata": {"name": "l", "resourceVersion": "5"}, "spec": spec}


def test_a_lease_that_nobody_has_is_made_and_one_that_was_let_go_taken() -> None:
    assert decide(Seen(), None, "me", 0.0)[1] == "create"
    assert decide(Seen(), _lease("", "x"), "me", 0.0)[1] == "take"
    assert decide(Seen(), released(_lease("you", "x"), "y"), "me", 0.0)[1] == "take"


def test_a_holder_who_is_silent_loses_it_by_our_own_clock() -> None:
    seen, do = decide(Seen(), _lease("you", "long ago"), "me", 100.0)
    assert do == "stand by"
    seen, do = decide(seen, _lease("you", "long ago"), "me", 114.0)
    assert do == "stand by"
    seen, do = decide(seen, _lease("you", "a little later"), "me", 114.5)
    assert do == "stand by"
    seen, do = decide(seen, _lease("you", "a little later"), "me", 129.5)
    assert do == "take"


def test_what_is_written_counts_changes_of_hands() -> None:
    taken = held_by("me", _lease("you", "x", leaseTransitions=3, acquireTime="then"), "l", "n", "now")
    assert (taken["spec"]["leaseTransitions"], taken["spec"]["acquireTime"]) == (4, "now")
    assert taken["metadata"]["resourceVersion"] == "5"
    renewed = held_by("me", taken, "l", "n", "later")
    assert (renewed["spec"]["leaseTransitions"], renewed["spec"]["acquireTime"]) == (4, "now")
    assert held_by("me", None, "l", "n", "now")["spec"]["leaseTransitions"] == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.floats(0.1, 4.0)), max_size=120))
def test_two_never_lead_at_once(script: list[tuple[str, bool, float]]) -> None:
    """Each looks when it likes, and sometimes reaches nobody; time goes on, and versions guard the writes."""
    now, lease = 0.0, None
    seen = {"a": Seen(), "b": Seen()}
    for who, reached, pause in script:
        now += pause
        if reached:
            state, do = decide(seen[who], lease, who, now)
            if do == "stand by":
                state = Seen(state.record, state.since)
            else:
                lease = held_by(who, lease, "l", "n", str(now))
                state = Seen(state.record, state.since, now)
            seen[who] = state
        assert not (leads(seen["a"], now) and leads(seen["b"], now))
