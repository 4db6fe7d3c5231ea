"""What plugins of a profile read in a request, and write into its answer."""

from playbook import JSON, Play, error, header, read, service, serving, to

from headgate.api import Text, load
from headgate.exchange.events import Forward, Reply
from headgate.exchange.helped import alone
from headgate.pick.affinity import token
from headgate.pick.configure import configure

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"


def picks(play: Play, *plugins: str, more: str = "", pool: str = "p") -> Play:
    """The pool picks so from now on."""
    text = HEAD + "".join(f"- {{type: {plugin}}}\n" for plugin in plugins) + more
    snapshot, problems = load([Text("in.yaml", text)])
    assert not problems, problems
    play.views[pool].profile = configure(snapshot.picker_configs[0].picking)
    return play


def play(*plugins: str, endpoints: int = 3, more: str = "") -> Play:
    return picks(Play(to("p"), p=serving("m", endpoints=endpoints)), *plugins, more=more)


def test_an_answer_tells_its_session_and_the_next_request_finds_it():
    one = play("session-affinity-filter", "random-picker")
    one.dice = [0.5]
    assert one.ask(model="m").endpoint.name == "ns/p-1"
    answer = one.answers_whole(b"{}", headers=[*JSON, (b"x-session-token", b"of-the-server")])
    assert isinstance(answer, Reply)
    assert header(answer, "x-session-token") == token("ns/p-1")
    again = play("session-affinity-filter", "random-picker")
    sent = again.ask(model="m", headers={"x-session-token": token("ns/p-2")})
    assert sent.endpoint.name == "ns/p-2"
    assert header(again.answers(200), "x-session-token") == token("ns/p-2")


def test_the_token_is_that_of_who_answered_in_the_end():
    one = play("session-affinity-scorer", "queue-scorer")
    first = one.ask(model="m", headers={"x-session-token": token("ns/p-1")})
    assert first.endpoint.name == "ns/p-1"
    second = one.fails("refused")
    assert isinstance(second, Forward)
    assert second.endpoint.name != "ns/p-1"
    assert header(one.answers_whole(b"{}"), "x-session-token") == token(second.endpoint.name)


def test_a_pool_that_wants_nothing_of_it_reads_and_tells_nothing():
    one = Play(to("p"), p=serving("m"))
    sent = one.ask(model="m", headers={"x-session-token": token("ns/p-1")})
    assert sent.burden is None
    assert header(one.answers_whole(b"{}"), "x-session-token") is None
    services = Play(to("s"), s=service())
    assert services.ask("GET /", headers={"x-session-token": token("ns/s-1")}).endpoint.name == "ns/s-0"


def test_who_names_no_endpoint_in_a_test_gets_429():
    one = play("header-based-testing-filter")
    refused = error(one.ask(model="m"), 429)
    assert refused["message"] == "Filter header-based-testing-filter left no endpoint of pool p."
    other = play("header-based-testing-filter")
    assert other.ask(model="m", headers={"test-epp-endpoint-selection": "10.0.0.3"}).endpoint.name == "ns/p-2"


def test_what_the_client_takes_bounds_the_tokens_that_it_counts_for():
    counted = (
        "token-load-scorer",
        "inflight-load-producer, parameters: {addEstimatedOutputTokens: true, outputRatio: 100}",
    )
    prompt = {"model": "m", "prompt": "x" * 398}
    for more, output in (({}, 10_000), ({"max_tokens": 7}, 7), ({"max_completion_tokens": 9, "max_tokens": 20}, 9)):
        burden = play(*counted).ask("POST /v1/completions", body={**prompt, **more}).burden
        assert (burden.prompt, burden.output) == (100, output)
    assert play("token-load-scorer").ask("POST /v1/completions", body=prompt).burden.output == 0
    assert play(*counted).ask("POST /v1/completions", body={**prompt, "max_tokens": "many"}).burden.output == 10_000


def test_an_admitter_keeps_out_what_may_be_shed_and_nothing_else():
    batch = {"pool": {"objectives": {"batch": -1, "chat": 0}}}
    for objective, dice, status in (("batch", 0.09, 429), ("batch", 0.1, 200), ("chat", 0.0, 200)):
        one = picks(Play(to("p"), p={**serving("m", endpoints=1), **batch}), "probabilistic-admitter")
        one.load("ns/p-0", waiting=1, kv_usage=0.0)  # 0.2: 9.6 %
        one.dice = [dice]
        command = one.ask(model="m", headers={"x-llm-d-inference-objective": objective})
        if status == 200:
            assert isinstance(command, Forward)
            continue
        told = error(command, 429)["message"]
        assert told.startswith("Not admitted by probabilistic-admitter: 10% of what may be shed is kept out where")
        assert one.record.decisions[0].emptied == "probabilistic-admitter"
        assert header(command, "x-llm-d-request-dropped-reason") == "rejected-saturated"
        assert header(command, "retry-after") == "1"


def test_a_header_names_the_profile_and_a_name_that_there_is_not_gets_400():
    profiles = """schedulingProfiles:
- {name: decode, plugins: [{pluginRef: queue-scorer}]}
- {name: prefill, plugins: [{pluginRef: header-based-testing-filter}]}
"""
    plugins = "queue-scorer", "header-based-testing-filter", "header-profile-handler"
    assert play(*plugins, more=profiles).ask(model="m").endpoint.name == "ns/p-0"
    by_hand = {"epp-profile": "prefill", "test-epp-endpoint-selection": "10.0.0.2"}
    one = play(*plugins, more=profiles)
    assert one.ask(model="m", headers=by_hand).endpoint.name == "ns/p-1"
    assert one.record.decisions[0].basis.profile == "prefill"
    refused = error(play(*plugins, more=profiles).ask(model="m", headers={"epp-profile": "encode"}), 400)
    assert refused["code"] == "no_profile"
    assert "has to name one of decode, prefill" in refused["message"]


ROLES = """schedulingProfiles:
- {name: prefill, plugins: [{pluginRef: header-based-testing-filter}]}
- {name: decode, plugins: [{pluginRef: queue-scorer}]}
"""
SPLIT = (
    "queue-scorer",
    "header-based-testing-filter",
    "always-disagg-pd-decider",
    "disagg-profile-handler, parameters: {deciders: {prefill: always-disagg-pd-decider}}",
)


def test_who_decodes_is_told_who_prefills():
    one = play(*SPLIT, more=ROLES)
    by_hand = {"test-epp-endpoint-selection": "10.0.0.3", "x-prefiller-host-port": "192.0.2.1:1"}
    sent = one.ask(model="m", headers=by_hand)
    assert sent.endpoint.name == "ns/p-0"
    assert read(sent).headers["x-prefiller-host-port"] == "10.0.0.3:8000"
    assert [(helper.endpoint, helper.prefills) for helper in sent.helpers] == [("ns/p-2", True)]
    assert alone(sent.head) == sent.head.replace(b"x-prefiller-host-port: 10.0.0.3:8000\r\n", b"")
    again = one.fails("refused")
    assert again.endpoint.name == "ns/p-1"
    assert read(again).headers["x-prefiller-host-port"] == "10.0.0.3:8000"


def test_nobody_is_told_to_prefill_for_itself_or_by_nobody():
    for selection in ("10.0.0.1", "10.0.0.9"):
        sent = play(*SPLIT, more=ROLES).ask(model="m", headers={"test-epp-endpoint-selection": selection})
        assert sent.endpoint.name == "ns/p-0"
        assert "x-prefiller-host-port" not in read(sent).headers
        assert sent.helpers == ()


def test_images_are_encoded_where_there_is_somebody_for_it():
    encoded = (
        "queue-scorer",
        "random-picker",
        "always-disagg-multimodal-decider",
        "disagg-profile-handler, parameters: {deciders: {encode: always-disagg-multimodal-decider}}",
    )
    profiles = """schedulingProfiles:
- {name: encode, plugins: [{pluginRef: random-picker}]}
- {name: decode, plugins: [{pluginRef: queue-scorer}]}
"""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    for content, told in (([picture], "10.0.0.2:8000"), ('say "image_url"', None)):
        one = play(*encoded, more=profiles)
        one.dice = [0.0, 0.4]
        sent = one.ask(body={"model": "m", "messages": [{"role": "user", "content": content}]})
        assert read(sent).headers.get("x-encoder-hosts-ports") == told
        assert [helper.prefills for helper in sent.helpers] == ([False] if told else [])
