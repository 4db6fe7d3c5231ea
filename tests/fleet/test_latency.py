"""What is under way, as far as predictions care: it is there while it is, and nothing of it stays."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.fleet.latency import ENOUGH, Latency, sure

sent = st.lists(
    st.tuples(st.sampled_from("ab"), st.floats(0, 1e5), st.sampled_from([0.0, 0.02, 0.05])), min_size=1, max_size=20
)


@given(sent, st.randoms(use_true_random=False))
def test_what_was_taken_is_given_back(requests, chance):
    latency = Latency()
    for request in requests:
        latency.take(*request)
    for name in "ab":
        there = [tokens for endpoint, tokens, _ in requests if endpoint == name]
        assert abs(latency.ahead.get(name, 0.0) - sum(there)) < 1e-3
        promised = [bound for endpoint, _, bound in requests if endpoint == name and bound]
        assert latency.bounds.get(name, []) == sorted(promised)
    chance.shuffle(requests)
    for endpoint, tokens, bound in requests:
        latency.prefilled(endpoint, tokens)
        latency.give(endpoint, bound)
    assert latency.ahead == {}
    assert latency.bounds == {}


def test_it_is_sure_after_enough_that_fits():
    latency = Latency()
    row = (1.0, 100.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for _ in range(ENOUGH - 1):
        latency.ttft.learn(row, 0.1)
    assert not sure(latency.ttft)
    latency.ttft.learn(row, 0.1)
    assert sure(latency.ttft)
    assert not sure(latency.tpot)
