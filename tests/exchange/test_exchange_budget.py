"""The budget of retries: a share of the requests over a sliding window, and a floor."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.exchange.budget import FLOOR, SHARE, WINDOW_S, Budget


def spend(budget: Budget, now: float, under_way: int = 0) -> int:
    """How many may be sent again at once."""
    count = 0
    while budget.spend(under_way, now):
        count += 1
    return count


def test_a_few_may_be_sent_again_however_few_there_are():
    budget = Budget()
    assert spend(budget, 0.0) == FLOOR
    assert spend(budget, WINDOW_S - 1.1) == 0
    assert spend(budget, WINDOW_S + 1.0) == FLOOR


def test_a_fifth_of_those_that_ended_and_those_under_way_may_be_sent_again():
    budget = Budget()
    budget.ended(100, 0.0)
    assert spend(budget, 1.0) == 20
    assert spend(budget, 2.0, under_way=50) == 10


def test_a_retry_that_was_answered_is_paid_back():
    budget = Budget()
    assert spend(budget, 0.0) == FLOOR
    budget.pay_back(1, 1.0)
    budget.pay_back(1, 5.0)
    assert spend(budget, 5.0) == 2
    budget.pay_back(50, 6.0)
    assert spend(budget, 6.0) == FLOOR, "and no more than was spent"


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 40), st.integers(0, 5)), max_size=80))
def test_in_no_window_is_more_spent_than_the_share_of_what_was_there(moves):
    budget = Budget()
    now = 1000.0
    ended, spent = [], []
    for later, requests, wanted in moves:
        now += later
        budget.ended(requests, now)
        ended += [now] * requests
        spent += [now] * sum(budget.spend(0, now) for _ in range(wanted))
        # The window moves in steps: it is up to one of them shorter than it says.
        recent = [at for at in spent if at > now - WINDOW_S * 0.9]
        assert len(recent) <= max(FLOOR, SHARE * len([at for at in ended if at > now - WINDOW_S * 2]))
        if wanted and spent[-1:] != [now]:
            assert len([at for at in spent if at >= now - WINDOW_S]) >= FLOOR, "it was refused for a reason"
