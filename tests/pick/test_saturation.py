"""How full a pool is."""

import pytest
from configured import pool, profile
from pools import standing

from headgate.fleet.endpoint import Load
from headgate.pick.admit import admit
from headgate.pick.decision import Ask
from headgate.pick.saturation import saturation


def full(*loads, now=10.0, **more):
    return saturation(standing(dict(zip("abcdef", loads, strict=False)), **more), now)


def test_an_endpoint_is_as_full_as_its_queue_or_its_cache_whichever_is_fuller():
    assert full(Load(5, 0, 0.0, at=10.0)) == 1.0
    assert full(Load(0, 99, 0.8, at=10.0)) == 1.0
    assert full(Load(1, 0, 0.4, at=10.0)) == 0.5
    assert full(Load(10, 0, 0.4, at=10.0)) == 2.0


def test_a_pool_is_as_full_as_its_endpoints_are_in_the_mean():
    assert full(Load(0, 0, 0.0, at=10.0), Load(10, 0, 0.0, at=10.0)) == 1.0


def test_what_is_not_known_or_not_known_any_more_counts_as_full():
    assert full(Load()) == 1.0
    assert full(Load(0, 0, 0.0, at=7.9)) == 1.0
    assert full(Load(0, 0, 0.0, at=8.1)) == 0.0


def test_a_pool_without_endpoints_is_full():
    assert full() == 1.0
    assert full(Load(0, 0, 0.0, at=10.0), a={"ready": False}) == 1.0


def test_endpoints_that_take_no_requests_do_not_count():
    loads = (Load(0, 0, 0.0, at=10.0), Load(50, 0, 0.0, at=10.0), Load(50, 0, 0.0, at=10.0))
    assert full(*loads, b={"ready": False}, c={"draining": True}) == 0.0


def test_a_gauge_that_the_engine_does_not_have_does_not_fill_it():
    assert full(Load(waiting=2, at=10.0)) == pytest.approx(0.4)
    assert full(Load(at=10.0)) == 0.0


def test_the_admitter_keeps_out_a_share_of_what_may_be_shed():
    usual = "{type: probabilistic-admitter}"

    def why(standing, dice, plugin=usual):
        said = admit(Ask("m", priority=-1), standing, profile(plugin), lambda: dice)
        return said.why if said else ""

    for waiting, usage, share in ((0, 0.0, 0.0), (1, 0.0, 0.2**5 * 300), (0, 0.2, 0.25**5 * 300), (2, 0.1, 1.0)):
        standing = pool([Load(waiting=waiting, kv_usage=usage, at=0.0)])
        assert not why(standing, share + 1e-9)
        assert bool(why(standing, share - 1e-9)) == (share > 0.0)
    quarter = pool([Load(waiting=0, kv_usage=0.2, at=0.0), Load(waiting=1, kv_usage=0.24, at=0.0)])  # 0.25 and 0.3
    share = 0.275**5 * 300
    assert why(quarter, share + 1e-9) == ""
    told = "not admitted by probabilistic-admitter: 47% of what may be shed is kept out where pool p is 28% full"
    assert why(quarter, share - 1e-9) == told
    own = "queueDepthThreshold: 2, kvCacheUtilThreshold: 0.4, power: 1, k: 0.5"
    own = f"{{type: probabilistic-admitter, parameters: {{{own}}}}}"
    standing = pool([Load(waiting=1, kv_usage=0.3, at=0.0)])
    assert not why(standing, 0.376, own)
    assert why(standing, 0.374, own)
