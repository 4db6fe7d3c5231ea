"""What the field's pickers do when nothing is configured, without what ours adds."""

from pools import endpoint

from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.published import PROFILES
from headgate.pick.standing import Standing


def test_the_extensions_default_goes_by_what_was_scraped_and_never_leaves_a_prefix_for_a_queue():
    index, ledger, rungs = PrefixIndex(), Ledger(), ladder("m", bytes(1100))
    index.record(rungs, "a")
    ledger.counts["a"] = 50  # sent since the last scrape
    loads = {"a": Load(waiting=0, running=0, kv_usage=0.0), "b": Load(waiting=0, running=0, kv_usage=0.0)}
    standing = Standing("p", [endpoint("a"), endpoint("b")], loads, ledger, index)
    decision = choose(Ask("m", rungs, 1100), standing, PROFILES["inference-extension-default"], lambda: 0.0)
    assert [(term.scorer, term.weight, list(term.scores)) for term in decision.terms] == [
        ("queue-scorer", 2.0, [1.0, 1.0]),
        ("kv-cache-utilization-scorer", 2.0, [1.0, 1.0]),
        ("prefix-cache-scorer", 3.0, [1.0, 0.0]),
    ]
    assert choose(Ask("m", rungs, 1100), standing, PROFILES["default"], lambda: 0.0).endpoint.name == "b"
