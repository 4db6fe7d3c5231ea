"""Sessions, and headers that ask for endpoints."""

from base64 import b64encode

from configured import FRESH, left, pool, profile, scores
from hypothesis import given
from hypothesis import strategies as st
from pools import endpoint

from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.affinity import Sessions
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.standing import Standing
from headgate.pick.wants import observe

BY_NAME = "{{type: session-affinity-{}, parameters: {{strategy: session_id, sessionIdConfig: {{{}}}}}}}"


def told(at: float = 0.0, **headers: str) -> Ask:
    return Ask("m", headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()), at=at)


def encoded(name: str) -> str:
    return b64encode(name.encode()).decode()


# By token.


def test_a_session_is_scored_where_its_token_says():
    plain = "{type: session-affinity-scorer}"
    assert scores(plain, [FRESH] * 3, told(x_session_token=encoded("b"))) == [0.0, 1.0, 0.0]
    assert scores(plain, [FRESH] * 3) == [0.0, 0.0, 0.0]
    for nonsense in ("b", encoded("gone"), encoded("b") + "=", "%%%", encoded("b").rstrip("=") + "\xff"):
        assert scores(plain, [FRESH] * 3, told(x_session_token=nonsense)) == [0.0, 0.0, 0.0], nonsense
    own = "{type: session-affinity-scorer, parameters: {encodedEndpointHeaderConfig: {header: X-Mine}}}"
    assert scores(own, [FRESH] * 2, told(x_mine=encoded("b"), x_session_token=encoded("a"))) == [0.0, 1.0]


def test_the_filter_keeps_a_session_where_its_token_says_as_long_as_that_is_there():
    given = "{type: session-affinity-filter}"
    assert left(given, [FRESH] * 3, ask=told(x_session_token=encoded("c"))) == "c"
    assert left(given, [FRESH] * 3, ask=told(x_session_token=encoded("z"))) == "abc"
    assert left(given, [FRESH] * 3) == "abc"
    assert left(given, [FRESH], ask=told(x_session_token=encoded("a"))) == "a"


def test_a_profile_wants_the_headers_that_its_plugins_read_and_stamps_the_answer():
    wants = profile("{type: session-affinity-filter}\n{type: queue-scorer}").wants
    assert (wants.headers, wants.stamps) == (("x-session-token",), (("default", ("x-session-token", "")),))
    assert profile(BY_NAME.format("filter", "")).wants.stamps == ()
    assert profile(BY_NAME.format("filter", "")).wants.headers == ("x-session-id",)
    assert profile("{type: queue-scorer}").wants is None


# By name.


def session(chosen, standing, ask):
    """The endpoint that it is sent to."""
    decision = choose(ask, standing, chosen, lambda: 0.0)
    observe(chosen.wants, ask, decision, standing.index, ask.at)
    return decision.endpoint.name


def test_a_session_that_has_a_name_stays_until_nobody_has_used_it_for_long():
    chosen = profile(BY_NAME.format("filter", "evictionTtlSeconds: 10") + "\n{type: active-request-scorer}")
    standing = pool([FRESH] * 3)
    assert session(chosen, standing, told(0.0, x_session_id="one")) == "a"
    for _ in range(3):
        standing.ledger.take("a")
    assert session(chosen, standing, told(9.0, x_session_id="one")) == "a"  # though it is the busiest
    assert session(chosen, standing, told(9.0, x_session_id="two")) == "b"
    assert session(chosen, standing, told(9.0)) == "b"  # of no session
    assert session(chosen, standing, told(19.0, x_session_id="one")) == "a"
    assert session(chosen, standing, told(30.0, x_session_id="one")) == "b"  # 11 s after the last
    assert session(chosen, standing, told(30.0, x_session_id="one")) == "b"


def test_a_session_moves_when_its_endpoint_is_no_candidate_and_stays_there():
    chosen = profile(BY_NAME.format("scorer", "") + "\n{type: queue-scorer}")
    index, ledger = PrefixIndex(), Ledger()
    every = [endpoint(name) for name in "abc"]
    whole = Standing("p", every, {}, ledger, index)
    ask = told(x_session_id="one")
    assert session(chosen, whole, ask) == "a"
    assert session(chosen, Standing("p", every[1:], {}, ledger, index), ask) == "b"
    assert session(chosen, whole, ask) == "b"


def test_the_scorer_may_be_outweighed_and_the_session_stays_where_it_was():
    more = """schedulingProfiles:
- name: mine
  plugins: [{pluginRef: session-affinity-scorer, weight: 1}, {pluginRef: active-request-scorer, weight: 2}]
"""
    chosen = profile(BY_NAME.format("scorer", "") + "\n{type: active-request-scorer}", more)
    standing, ask = pool([FRESH] * 2), told(x_session_id="one")
    assert session(chosen, standing, ask) == "a"
    standing.ledger.take("a")
    assert session(chosen, standing, ask) == "b"
    standing.ledger.give("a")
    assert session(chosen, standing, ask) == "a"


def test_a_session_may_be_named_by_a_header_a_cookie_or_an_agent():
    sources = "{header: X-Own}, {attribute: SessionIDDataKey, producer: crumb}, {attribute: agent-identity}"
    chosen = profile(
        BY_NAME.format("filter", f"sources: [{sources}]")
        + "\n{type: session-id-producer, name: crumb, parameters: {cookieName: sid}}"
        + "\n{type: agent-identity, parameters: {additionalSessionHeaders: [X-Agent]}}\n{type: active-request-scorer}"
    )
    assert set(chosen.wants.headers) == {
        "cookie",
        "session-id",
        "session_id",
        "x-agent",
        "x-claude-code-session-id",
        "x-own",
        "x-session-affinity",
    }
    standing = pool([FRESH] * 2)
    assert session(chosen, standing, told(x_own="one")) == "a"
    standing.ledger.take("a")
    same = [
        told(cookie="theme=dark; sid=one"),
        told(cookie="nosid=two; sid=one, sid=two"),
        told(x_agent="one"),
        told(session_id="one", x_own=""),
        told(x_claude_code_session_id="one", session_id="two"),
        told(x_own="one", cookie="sid=two"),
    ]
    assert [session(chosen, standing, ask) for ask in same] == ["a"] * 6
    for other in (told(cookie="xsid=one"), told(x_own="One"), told(cookie="sid")):
        assert session(chosen, standing, other) == "b"


def test_a_producer_may_read_a_header():
    chosen = profile(
        BY_NAME.format("filter", "sources: [{attribute: SessionIDDataKey}]")
        + "\n{type: session-id-producer, parameters: {headerName: X-Chat}}"
    )
    assert chosen.wants.headers == ("x-chat",)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abc"), st.integers(0, 4)), max_size=60))
def test_a_session_in_use_never_moves_while_its_endpoint_is_a_candidate(uses):
    sessions, now, at = Sessions(10.0), 0.0, {}
    for name, where, passed in uses:
        now += passed
        before = sessions.find(name, now)
        last, then = at.get(name, ("", now))
        assert before == (last if now - then <= 10.0 else "")
        sessions.use(name, where, "abc", now)
        if not before:
            at[name] = where, now
        elif before == where:
            at[name] = before, now


def test_what_is_remembered_of_sessions_is_bounded():
    sessions = Sessions(1e9)
    for number in range(70_000):
        sessions.use(str(number), "a", "a", 0.0)
    assert len(sessions) == 65_536
    assert sessions.find("0", 0.0) == ""
    sessions = Sessions(10.0)
    for number in range(100):
        sessions.use(str(number), "a", "a", float(number))
    assert len(sessions) == 11  # those that are over leave when others come


# Other headers.


def test_a_header_may_ask_for_a_label():
    given = "{type: header-label-affinity-scorer, parameters: {headerName: X-Tier, labelKey: example.com/tier}}"
    labels = [{"example.com/tier": "gold"}, {"example.com/tier": "iron"}, {}]
    assert scores(given, [FRESH] * 3, told(x_tier="gold"), labels=labels) == [1.0, 0.0, 0.0]
    assert scores(given, [FRESH] * 3, told(x_tier="tin"), labels=labels) == [0.0, 0.0, 0.0]
    assert scores(given, [FRESH] * 3, labels=labels) == [0.0, 0.0, 0.0]


def test_the_testing_header_names_who_may_serve():
    given = "{type: header-based-testing-filter}"  # a is 10.0.0.97:8000

    def named(value):
        return left(given, [FRESH] * 3, ask=told(test_epp_endpoint_selection=value))

    assert named("10.0.0.98") == named("10.0.0.98:8000") == named(" 10.0.0.98 , 10.0.0.1") == "b"
    assert named("10.0.0.99,10.0.0.97:8000") == "ac"
    assert named("10.0.0.98:8001") == named("b") == named(",") == ""
    assert left(given, [FRESH] * 3) == ""
    chosen, six = profile(given), [endpoint("a", address="fd00::1"), endpoint("b", address="fd00::1", port=9000)]
    standing = Standing("p", six, {}, Ledger(), PrefixIndex())
    for value, names in (("fd00::1", "ab"), ("[fd00:0::1]:9000", "b"), ("[FD00::1]", "ab"), ("[fd00::2]", "")):
        ask = told(test_epp_endpoint_selection=value)
        assert "".join(one.name for one in choose(ask, standing, chosen, lambda: 0.0).candidates) == names, value


def test_who_has_just_begun_to_serve_is_not_spared_where_nobody_else_is_left():
    from headgate.fleet.slow_start import Young

    chosen = profile("{type: header-based-testing-filter}")
    each = [endpoint(name) for name in "ab"]
    standing = Standing("p", each, {}, Ledger(), PrefixIndex(), [Young("b", 0.0, 0.0)])
    decision = choose(told(test_epp_endpoint_selection="10.0.0.98"), standing, chosen, lambda: 0.0)
    assert decision.endpoint.name == "b"
    both = choose(told(test_epp_endpoint_selection="10.0.0.98,10.0.0.97"), standing, chosen, lambda: 0.0)
    assert (both.endpoint.name, both.removed) == ("a", {"slow-start": ("b",)})
