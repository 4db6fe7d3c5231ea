"""no-hit-lru-scorer."""

from configured import FRESH, pool, profile
from hypothesis import given
from hypothesis import strategies as st

from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.wants import observe

SPREAD = "{type: no-hit-lru-scorer}"


def cold(number: int) -> Ask:
    """A prompt like no other."""
    return Ask("m", ladder("m", b"%04d" % number * 256), 1024)


def test_what_is_cold_goes_to_who_got_something_cold_the_longest_ago():
    chosen, standing = profile(SPREAD), pool([FRESH] * 4)
    given_to = []
    for number in range(8):
        decision = choose(cold(number), standing, chosen, lambda: 0.0)
        if number == 2:  # two have had one: the others share the best score
            assert [list(term.scores) for term in decision.terms] == [[1 - 2 / 3, 0.0, 1.0, 1.0]]
        observe(chosen.wants, cold(number), decision, standing.index, 0.0)
        given_to.append(decision.endpoint.name)
    assert "".join(given_to) == "abcdabcd"


def test_what_somebody_has_cached_is_scored_alike_and_moves_nobody():
    index = PrefixIndex()
    chosen, standing = profile(SPREAD), pool([FRESH] * 3, index=index)
    index.record(cold(1).prefix, "b")
    index.record(cold(2).prefix, "elsewhere")  # that is no candidate
    for _ in range(2):
        decision = choose(cold(1), standing, chosen, lambda: 0.0)
        assert [list(term.scores) for term in decision.terms] == [[0.5, 0.5, 0.5]]
        observe(chosen.wants, cold(1), decision, index, 0.0)
    decision = choose(cold(2), standing, chosen, lambda: 0.0)
    assert [list(term.scores) for term in decision.terms] == [[1.0, 1.0, 1.0]]


def test_it_remembers_as_many_as_it_is_told():
    chosen = profile("{type: no-hit-lru-scorer, parameters: {lruSize: 1}}")
    standing, names = pool([FRESH] * 3), []
    for number in range(3):
        decision = choose(cold(number), standing, chosen, lambda: 0.0)
        observe(chosen.wants, cold(number), decision, standing.index, 0.0)
        names.append(decision.endpoint.name)
    assert names == ["a", "b", "a"]  # when b had its, a was forgotten


@given(st.integers(2, 8), st.lists(st.floats(0, 0.999), min_size=1, max_size=40))
def test_nobody_gets_a_second_cold_prompt_before_everybody_has_had_one(count, dice):
    chosen, standing, had = profile(SPREAD), pool([FRESH] * count), []
    for number, thrown in enumerate(dice):
        decision = choose(cold(number), standing, chosen, lambda thrown=thrown: thrown)
        assert all(0.0 <= score <= 1.0 for score in decision.terms[0].scores)
        observe(chosen.wants, cold(number), decision, standing.index, 0.0)
        had.append(decision.endpoint.name)
    for start in range(0, len(had) - count + 1, count):
        assert len(set(had[start : start + count])) == count
