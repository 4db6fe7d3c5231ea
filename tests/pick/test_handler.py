"""Several profiles of one pool, and what chooses among them."""

from configured import FRESH, pool, profile

from headgate.fleet.endpoint import Load
from headgate.pick.decision import Ask
from headgate.pick.handler import NO_PROFILE, decide
from headgate.pick.trail import explain, render

ROLES = [{"llm-d.ai/role": role} for role in ("prefill", "decode", "decode")]
PROFILES = """schedulingProfiles:
- name: prefill
  plugins: [{pluginRef: prefill-filter}]
- name: decode
  plugins: [{pluginRef: decode-filter}, {pluginRef: queue-scorer, weight: 2}]
"""
PLUGINS = "{type: prefill-filter}\n{type: decode-filter}\n{type: queue-scorer}\n"


def asked(value: str = "", header: str = "epp-profile") -> Ask:
    return Ask("m", headers=((header, value),) if value else ())


def test_a_header_chooses_among_profiles():
    chosen = profile(PLUGINS + "{type: header-profile-handler}", PROFILES)
    assert (chosen.name, chosen.wants.headers) == ("decode", ("epp-profile",))
    standing = pool([FRESH, Load(waiting=5), Load(waiting=1)], ROLES)
    for value, name, by in (("prefill", "a", "prefill"), ("decode", "c", "decode"), ("", "c", "decode")):
        for _ in range(2):  # what is remembered for one profile is not taken for the other
            decision = decide(asked(value), standing, chosen, lambda: 0.0)
            assert (decision.endpoint.name, decision.basis.profile) == (name, by)
    terms = {term.scorer: term.weight for term in decide(asked(), standing, chosen, lambda: 0.0).terms}
    assert terms == {"queue-scorer": 2.0}


def test_the_header_and_the_default_may_be_others():
    given = "{type: header-profile-handler, parameters: {headerName: X-Stage, defaultProfile: prefill}}"
    chosen = profile(PLUGINS + given, PROFILES)
    standing = pool([FRESH] * 3, ROLES)
    assert decide(asked(), standing, chosen, lambda: 0.0).endpoint.name == "a"
    assert decide(asked("decode", "x-stage"), standing, chosen, lambda: 0.0).endpoint.name == "b"


def test_a_profile_that_is_not_there_is_nobodys():
    chosen = profile(PLUGINS + "{type: header-profile-handler}", PROFILES)
    decision = decide(asked("encode"), pool([FRESH] * 3, ROLES), chosen, lambda: 0.0)
    assert (decision.endpoint, decision.emptied) == (None, NO_PROFILE)
    why = "there is no profile encode: the header epp-profile has to name one of decode, prefill"
    assert decision.why == explain(decision)["why"] == why
    assert why in render(decision)


def test_where_there_is_one_profile_it_counts_whatever_the_header_says():
    chosen = profile("{type: queue-scorer}\n{type: header-profile-handler}")
    assert chosen.handler is None
    assert decide(asked("encode"), pool([FRESH] * 2), chosen, lambda: 0.0).endpoint.name == "a"


def test_a_session_that_is_held_is_held_where_the_profile_leaves_it():
    chosen = profile(PLUGINS + "{type: header-profile-handler}", PROFILES)
    standing = pool([FRESH] * 3, ROLES)
    assert decide(asked(), standing, chosen, lambda: 0.0, held="c").endpoint.name == "c"
    assert decide(asked(), standing, chosen, lambda: 0.0, held="a").endpoint.name == "b"


def test_what_a_filter_of_any_profile_keeps_out_is_known_as_a_sieves():
    chosen = profile(PLUGINS + "{type: header-profile-handler}", PROFILES)
    assert all(chosen.sifts(name) for name in ("decode-filter", "prefill-filter"))
    assert not chosen.sifts("encode-filter")


def test_latencies_are_predicted_for_all_profiles_of_a_set_or_for_none():
    header = "{type: header-profile-handler}"
    assert profile(PLUGINS + header, PROFILES).foresight is None
    producer = "{type: predicted-latency-producer, parameters: {sloBufferFactor: 0.5}}\n"
    one_of_them = PROFILES.replace(
        "{pluginRef: prefill-filter}", "{pluginRef: prefill-filter}, {pluginRef: latency-scorer}"
    )
    for plugins, profiles, buffer in (
        (producer, PROFILES, 0.5),
        ("{type: latency-slo-admitter}\n", PROFILES, 1.0),
        ("{type: latency-scorer}\n", one_of_them, 1.0),
    ):
        chosen = profile(PLUGINS + plugins + header, profiles)
        standing = pool([FRESH] * 3, ROLES)
        for value in ("prefill", "decode"):
            decision = decide(asked(value), standing, chosen, lambda: 0.0)
            assert decision.forecast is not None
            assert decision.forecast.rule.buffer == buffer
            assert decision.basis.profile in render(decision)
