"""The default profile's own ways with queues and prefixes, which stand in the place of the published scorers."""

from collections import Counter

from pools import endpoint

from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.candidates import Candidates
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.profile import DEFAULT
from headgate.pick.spread import calm_queue, held_prefix
from headgate.pick.standing import Standing

RUNGS = ladder("m", bytes(range(256)) * 16)


def scores(scorer, sent=(0, 0, 0), waiting=(0, 0, 0), holders="a", shorter=""):
    ledger, index = Ledger(), PrefixIndex()
    names = "abcdefgh"[: len(sent)]
    for name, count in zip(names, sent, strict=True):
        ledger.counts[name] = count
    for name in holders:
        index.record(RUNGS, name)
    for name in shorter:
        index.record(RUNGS[:3], name)
    loads = [Load(waiting=count, running=max(0, own - count)) for count, own in zip(waiting, sent, strict=True)]
    among = Candidates([endpoint(name) for name in names], loads, ledger, index)
    return list(scorer(Ask("m", RUNGS), among, among.in_flight(), among.depths(among.in_flight())))


def test_the_first_request_that_waits_costs_half_of_what_the_second_does():
    assert scores(calm_queue, waiting=(0, 0, 0)) == [1.0, 1.0, 1.0]
    assert scores(calm_queue, waiting=(3, 4, 3)) == [1.0, 0.5, 1.0]
    assert scores(calm_queue, waiting=(0, 1, 2)) == [1.0, 0.5, 0.0]
    assert scores(calm_queue, waiting=(1, 3, 5)) == [1.0, 0.5, 0.0]


def test_a_prefix_is_left_for_endpoints_that_have_far_less_in_flight():
    assert scores(held_prefix, (7, 0, 0)) == [1.0, 0.0, 0.0]
    assert scores(held_prefix, (8, 0, 0)) == [0.0, 0.0, 0.0]
    assert scores(held_prefix, (19, 8, 8)) == [1.0, 0.0, 0.0]
    assert scores(held_prefix, (20, 8, 8)) == [0.0, 0.0, 0.0]
    # The mean is of those that do not hold it: not of all, or the last endpoint would never learn it.
    assert scores(held_prefix, (20, 20, 0), holders="ab") == [0.0, 0.0, 0.0]
    assert scores(held_prefix, (20, 7, 0), holders="ab") == [0.0, 1.0, 0.0]


def test_a_prefix_that_all_hold_is_left_by_nobody():
    assert scores(held_prefix, (50, 0, 0), holders="abc") == [1.0, 1.0, 1.0]


def test_who_knows_but_the_beginning_does_not_hold_it():
    known = RUNGS[2][0] / RUNGS[-1][0]
    assert scores(held_prefix, (8, 0, 0), shorter="b") == [0.0, known, 0.0]
    assert scores(held_prefix, (0, 30, 0), shorter="b") == [1.0, known, 0.0]


def test_a_prefix_is_left_where_the_queue_is_sixty_longer_than_six_times_the_shortest():
    assert scores(held_prefix, (100, 90, 90), (61, 1, 1)) == [1.0, 0.0, 0.0]
    assert scores(held_prefix, (100, 90, 90), (66, 1, 1)) == [0.0, 0.0, 0.0]


def test_what_everybody_asks_for_is_soon_everywhere():
    ledger, index = Ledger(), PrefixIndex()
    names = "abcdefgh"
    loads = dict.fromkeys(names, Load(0, 0, 0.1))
    state = Standing("p", [endpoint(name) for name in names], loads, ledger, index)
    for _ in range(160):
        name = choose(Ask("m", RUNGS), state, DEFAULT, lambda: 0.0).endpoint.name
        ledger.take(name)
        index.record(RUNGS, name)
    assert Counter(ledger.counts) == Counter(dict.fromkeys(names, 20))
