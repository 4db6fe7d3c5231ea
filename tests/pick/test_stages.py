"""Prefill and decode apart."""

import pytest
from configured import FRESH, pool, profile
from pools import endpoint

from headgate.exchange.informed import stamps
from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.affinity import token
from headgate.pick.decision import Ask
from headgate.pick.handler import decide
from headgate.pick.stages import Decider
from headgate.pick.standing import Standing
from headgate.pick.trail import explain, render

ROLES = [{"llm-d.ai/role": role} for role in ("prefill", "prefill", "decode", "decode", "encode")]
PLUGINS = "{type: prefill-filter}\n{type: decode-filter}\n{type: encode-filter}\n{type: queue-scorer}\n"
DECIDER = "{type: prefix-based-pd-decider, parameters: {nonCachedTokens: 512, promptTokens: 600}}\n"
PROFILES = """schedulingProfiles:
- name: encode
  plugins: [{pluginRef: encode-filter}]
- name: prefill
  plugins: [{pluginRef: prefill-filter}, {pluginRef: queue-scorer}]
- name: decode
  plugins: [{pluginRef: decode-filter}, {pluginRef: queue-scorer}]
"""
PROMPT = b"x" * 4096
RUNGS = ladder("m", PROMPT)
LONG = Ask("m", RUNGS, len(PROMPT))  # 1,024 tokens
LOADS = [Load(waiting=2), Load(waiting=1), Load(waiting=1), Load(waiting=2), FRESH]


def split(handler: str = "{type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}"):
    return profile(PLUGINS + DECIDER + handler, PROFILES)


def stages(chosen, standing, ask=LONG) -> dict[str, str]:
    """Who is chosen, by profile."""
    decision = decide(ask, standing, chosen, lambda: 0.0)
    return {one.basis.profile: one.endpoint.name if one.endpoint else "" for one in (decision, *decision.stages)}


def test_a_prompt_that_is_not_cached_where_it_is_decoded_is_prefilled_elsewhere():
    index = PrefixIndex()
    chosen, standing = split(), pool(LOADS, ROLES, index=index)
    assert stages(chosen, standing) == {"decode": "c", "prefill": "b"}
    assert stages(chosen, standing, Ask("m", prompt_bytes=2396)) == {"decode": "c"}  # 599 tokens
    index.record(RUNGS, "c")
    assert stages(chosen, standing) == {"decode": "c"}
    index.record(RUNGS, "d")
    assert stages(chosen, pool([*LOADS[:2], Load(waiting=9), *LOADS[3:]], ROLES)) == {"decode": "d", "prefill": "b"}


def test_the_older_handler_is_the_same_with_a_decider_of_its_own():
    older = split("{type: pd-profile-handler}\n{type: prefill-header-handler}")
    assert (older.handler.splits, older.handler.encodes) == (split().handler.splits, None)
    assert stages(older, pool(LOADS, ROLES)) == {"decode": "c", "prefill": "b"}
    named = "{type: disagg-profile-handler, parameters: {prefillDeciderPluginName: prefix-based-pd-decider}}"
    assert stages(split(named), pool(LOADS, ROLES)) == {"decode": "c", "prefill": "b"}


def test_deciders_say_when_a_stage_is_worth_it():
    index, here = PrefixIndex(), endpoint("c")
    index.record(tuple(rung for rung in RUNGS if rung[0] <= 2000), "c")  # 1,984 bytes: 496 tokens
    assert Decider(528).wants(LONG, here, index)
    assert not Decider(529).wants(LONG, here, index)
    assert Decider(1024).wants(LONG, endpoint("d"), index)
    assert not Decider(1025).wants(LONG, endpoint("d"), index)
    assert Decider(1, 1024).wants(LONG, here, index)
    assert not Decider(1, 1025).wants(LONG, here, index)
    assert Decider().wants(Ask("m"), here, index)
    assert not Decider(media=True).wants(LONG, here, index)
    assert Decider(media=True).wants(Ask("m", media=True), here, index)
    always = "{type: always-disagg-pd-decider}\n{type: always-disagg-multimodal-decider}\n"
    deciders = "{prefill: always-disagg-pd-decider, encode: always-disagg-multimodal-decider}"
    both = profile(
        PLUGINS + always + f"{{type: disagg-profile-handler, parameters: {{deciders: {deciders}}}}}", PROFILES
    )
    assert both.wants.media
    assert stages(both, pool(LOADS, ROLES), Ask("m")) == {"decode": "c", "prefill": "b"}
    assert stages(both, pool(LOADS, ROLES), Ask("m", media=True)) == {"decode": "c", "encode": "e", "prefill": "b"}
    never = PLUGINS + "{type: prefix-based-pd-decider}\n"
    handler = "{type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}"
    assert stages(profile(never + handler, PROFILES), pool(LOADS, ROLES)) == {"decode": "c"}
    assert stages(split("{type: disagg-profile-handler}"), pool(LOADS, ROLES)) == {"decode": "c"}


def test_where_nobody_decodes_nothing_is_prefilled_and_where_nobody_prefills_it_is_decoded_all_the_same():
    chosen = split()
    assert stages(chosen, pool(LOADS[:2], ROLES[:2])) == {"decode": ""}
    assert stages(chosen, pool(LOADS[2:], ROLES[2:])) == {"decode": "a", "prefill": ""}


def test_the_trail_tells_of_all_stages():
    decision = decide(LONG, pool(LOADS, ROLES), split(), lambda: 0.0)
    told = explain(decision)
    assert (told["profile"], told["chosen"]) == ("decode", "c")
    assert [(stage["profile"], stage["chosen"], stage["runner_up"]) for stage in told["stages"]] == [
        ("prefill", "b", "a")
    ]
    text = render(decision)
    assert "chosen    c at 10.0.0.99:8000" in text
    assert "pool      p (profile prefill)\nchosen    b at 10.0.0.98:8000" in text
    assert "stages" not in explain(decide(Ask("m"), pool(LOADS, ROLES), split(), lambda: 0.0))


NEAR = """schedulingProfiles:
- name: prefill
  plugins: [{pluginRef: prefill-filter}, {pluginRef: near}]
- name: decode
  plugins: [{pluginRef: decode-filter}]
"""
ALWAYS = "{type: always-disagg-pd-decider}\n"
HANDLER = "{type: disagg-profile-handler, parameters: {deciders: {prefill: always-disagg-pd-decider}}}\n"


def places(*where: str) -> Standing:
    """One that decodes, and those that prefill: `host/rack/zone/region`, as far as each has such labels."""
    keys = ("kubernetes.io/hostname", *(f"topology.kubernetes.io/{name}" for name in ("rack", "zone", "region")))
    each = []
    for name, text in zip("abcdef", where, strict=False):
        role = {"llm-d.ai/role": "prefill" if each else "decode"}
        at = {key: value for key, value in zip(keys, text.split("/"), strict=False) if value}
        each.append(endpoint(name, labels={**role, **at}))
    return Standing("p", each, {}, Ledger(), PrefixIndex())


def test_a_stage_is_best_near_the_one_before():
    standing = places("h1/r1/z1/g1", "h1/r9/z9/g9", "h2/r1/z1/g1", "h3/r2/z1/g1", "h4/r3/z2/g1", "///")
    scored = profile(PLUGINS + ALWAYS + HANDLER + "{type: topology-affinity-scorer, name: near}", NEAR)
    (stage,) = decide(Ask("m"), standing, scored, lambda: 0.0).stages
    assert [list(term.scores) for term in stage.terms] == [[1.0, 0.2, 0.05, 0.02, 0.0]]
    for least, names in (("host", "b"), ("rack", "bc"), ("region", "bcde")):
        given = "" if least == "host" else f", parameters: {{minAffinity: {least}}}"
        kept = profile(PLUGINS + ALWAYS + HANDLER + f"{{type: topology-affinity-filter, name: near{given}}}", NEAR)
        (stage,) = decide(Ask("m"), standing, kept, lambda: 0.0).stages
        assert "".join(one.name for one in stage.candidates) == names
    nowhere = places("h1", "h2", "")
    (stage,) = decide(Ask("m"), nowhere, kept, lambda: 0.0).stages
    assert len(stage.candidates) == 2  # nobody is near
    own = "{type: topology-extractor, parameters: {hostname: topology.kubernetes.io/zone}}\n"
    zones = profile(PLUGINS + ALWAYS + HANDLER + own + "{type: topology-affinity-filter, name: near}", NEAR)
    (stage,) = decide(Ask("m"), standing, zones, lambda: 0.0).stages
    assert "".join(one.name for one in stage.candidates) == "cd"


def test_with_prefill_first_who_decodes_is_chosen_by_who_has_prefilled():
    first = "{type: disagg-profile-handler, parameters: {stageOrder: prefill-first}}\n{type: topology-affinity-scorer}"
    more = PROFILES.replace("decode-filter}, {pluginRef: queue", "decode-filter}, {pluginRef: topology-affinity")
    at = [{**role, "kubernetes.io/hostname": f"h{number}"} for role, number in zip(ROLES, (1, 2, 1, 2, 3), strict=True)]
    chosen = profile(PLUGINS + first, more)
    assert stages(chosen, pool(LOADS, at)) == {"decode": "d", "prefill": "b"}
    assert stages(chosen, pool([FRESH, *LOADS[1:]], at)) == {"decode": "c", "prefill": "a"}


@pytest.mark.parametrize(("given", "told"), [("profileName: prefill, ", "a"), ("", "c")])
def test_sessions_may_hold_to_who_prefills(given, told):
    session = f"parameters: {{{given}encodedEndpointHeaderConfig: {{header: x-p}}}}"
    handler = "{type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}\n"
    more = PROFILES.replace("{pluginRef: prefill-filter}", "{pluginRef: prefill-filter}, {pluginRef: mine}")
    plugins = f"{{type: session-affinity-filter, name: mine, {session}}}"
    chosen = profile(PLUGINS + DECIDER + handler + plugins, more)
    ask = Ask("m", RUNGS, len(PROMPT), headers=(("x-p", token("a")),))
    decision = decide(ask, pool(LOADS, ROLES), chosen, lambda: 0.0)
    assert decision.of("prefill").endpoint.name == "a"  # though b has less to do
    assert stamps(chosen.wants, decision) == [(b"x-p", token(told).encode())]
    short = decide(Ask("m", headers=ask.headers), pool(LOADS, ROLES), chosen, lambda: 0.0)
    assert stamps(chosen.wants, short) == []
