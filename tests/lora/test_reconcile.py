"""The reconcile loop against a server in memory, on virtual time: minutes pass in milliseconds."""

import asyncio
import itertools
import json

import pytest
from lora_fakes import VirtualLoop, Vllm

from headgate.lora.config import Adapter, Desired
from headgate.runtime.client import Answer, ClientError
from headgate.runtime.reconcile import Reconciler, Timing


def on_virtual_time(scenario, vllm, **timing):
    """Run `scenario(reconciler)` beside the reconciler's own loop."""

    async def main():
        reconciler = Reconciler(vllm.ask, Timing(**timing))
        task = asyncio.create_task(reconciler.run())
        try:
            return await scenario(reconciler)
        finally:
            task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            assert isinstance(result, asyncio.CancelledError), result

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def want(*exist, absent=(), **rest):
    return Desired(exist=tuple(Adapter(*pair) for pair in exist), absent=tuple(absent), **rest)


def test_it_waits_for_health_then_loads_and_unloads_what_it_was_told_and_nothing_else():
    vllm = Vllm()
    vllm.healthy_at = 1061.0
    vllm.adapters = {"old": "o", "stranger": "x", "kept": "k"}

    async def scenario(reconciler):
        reconciler.want(want(("a", "org/a", "base"), ("kept", "k"), absent=["old", "never-there"]))
        await asyncio.sleep(70)
        assert vllm.adapters == {"a": "org/a", "stranger": "x", "kept": "k"}
        assert reconciler.status == {"a": True, "kept": True, "old": False, "never-there": False}

    on_virtual_time(scenario, vllm)
    (when, name), gone = *vllm.calls("load"), *vllm.calls("unload")
    assert 1061 <= when <= 1063
    assert (name, gone) == ("a", (when, "old"))
    assert {path for at, path, _ in vllm.asked if at < when} == {"GET /health"}
    body = next(json.loads(body) for _, path, body in vllm.asked if path.endswith("/load_lora_adapter"))
    assert body == {"lora_name": "a", "lora_path": "org/a", "base_model_name": "base"}


def test_a_bad_path_is_tried_again_with_growing_pauses_and_stops_no_other(caplog):
    vllm = Vllm()
    vllm.missing = {"nowhere"}

    async def scenario(reconciler):
        reconciler.want(want(("bad", "nowhere"), ("good", "org/good")))
        await asyncio.sleep(200)
        assert reconciler.status == {"bad": False, "good": True}
        vllm.missing = set()
        await asyncio.sleep(60)
        assert reconciler.status["bad"]

    on_virtual_time(scenario, vllm)
    tries = [when - 1000 for when, name in vllm.calls("load") if name == "bad"]
    assert tries == pytest.approx([0, 1, 3, 7, 15, 31, 63, 123, 183, 243], abs=0.1)
    assert len([1 for _, name in vllm.calls("load") if name == "good"]) == 1
    assert "can't load bad: nowhere: 404 Loading lora bad failed" in caplog.text


def test_a_slow_load_holds_nobody_up_and_is_asked_for_once():
    vllm = Vllm()
    vllm.seconds = {"huge": 120.0}

    async def scenario(reconciler):
        reconciler.want(want(("slow", "huge"), ("quick", "org/quick")))
        await asyncio.sleep(0.1)
        assert reconciler.status == {"slow": False, "quick": True}
        await asyncio.sleep(121)
        assert reconciler.status == {"slow": True, "quick": True}

    on_virtual_time(scenario, vllm)
    assert len(vllm.calls("load")) == 2


def test_a_restarted_server_gets_its_adapters_back_on_the_next_look():
    vllm = Vllm()

    async def scenario(reconciler):
        reconciler.want(want(("a", "org/a"), ("b", "org/b")))
        await asyncio.sleep(7)
        vllm.adapters.clear()  # restarted so fast that no question met a closed door
        await asyncio.sleep(4)
        assert set(vllm.adapters) == {"a", "b"}
        vllm.adapters.clear()
        vllm.healthy_at = asyncio.get_running_loop().time() + 30
        await asyncio.sleep(6)
        assert reconciler.status == {"a": False, "b": False}
        await asyncio.sleep(27)
        assert reconciler.status == {"a": True, "b": True}

    on_virtual_time(scenario, vllm)


def test_an_adapter_that_was_failing_is_not_kept_waiting_after_a_restart():
    vllm = Vllm()
    vllm.missing = {"nowhere"}

    async def scenario(reconciler):
        reconciler.want(want(("a", "nowhere"), ("b", "org/b")))
        await asyncio.sleep(130)  # the pause is a minute by now
        vllm.missing.clear()
        vllm.adapters.clear()
        await asyncio.sleep(5.1)
        assert reconciler.status == {"a": True, "b": True}

    on_virtual_time(scenario, vllm)


def test_an_edit_is_taken_at_once_and_retries_what_failed():
    vllm = Vllm()
    vllm.missing = {"nowhere"}

    async def scenario(reconciler):
        reconciler.want(want(("a", "nowhere")))
        await asyncio.sleep(130)
        vllm.missing.clear()
        reconciler.want(want(("a", "nowhere"), ("b", "org/b")))
        await asyncio.sleep(0.1)
        assert reconciler.status == {"a": True, "b": True}
        reconciler.want(want(absent=["a"]))
        await asyncio.sleep(0.1)
        assert set(vllm.adapters) == {"b"}, "what is in no list any more stays"

    on_virtual_time(scenario, vllm)


@pytest.mark.parametrize("replaces", [True, False], ids=["vllm that replaces", "older vllm"])
def test_an_edited_source_replaces_the_adapter_that_we_loaded(replaces):
    vllm = Vllm(replaces)
    vllm.adapters = {"by-flag": "/adapters/by-flag"}

    async def scenario(reconciler):
        reconciler.want(want(("a", "v1"), ("by-flag", "elsewhere")))
        await asyncio.sleep(1)
        reconciler.want(want(("a", "v2"), ("by-flag", "elsewhere")))
        await asyncio.sleep(20)
        assert vllm.adapters == {"a": "v2", "by-flag": "/adapters/by-flag"}

    on_virtual_time(scenario, vllm)
    assert [name for _, name in vllm.calls("load")] == ["a", "a"] if replaces else ["a", "a", "a"]


def test_already_loaded_counts_as_loaded():
    vllm = Vllm()

    async def scenario(reconciler):
        ask = reconciler._ask

        async def blind(method, host, port, path, body, seconds):
            if path == "/v1/models":  # the server's list does not have it yet
                return Answer(200, (), b'{"data":[]}')
            return await ask(method, host, port, path, body, seconds)

        reconciler._ask = blind
        vllm.adapters = {"a": "org/a"}
        reconciler.want(want(("a", "org/a")))
        await asyncio.sleep(0.1)
        assert reconciler.status == {"a": True}
        assert len(vllm.calls("load")) == 1

    on_virtual_time(scenario, vllm)


def test_a_server_without_lora_calls_is_said_so_with_what_to_do(caplog):
    vllm = Vllm()

    async def no_route(_):
        return Answer(404, (), b'{"detail":"Not Found"}')

    vllm.load = vllm.unload = no_route
    vllm.adapters = {"b": "x"}

    async def scenario(reconciler):
        reconciler.want(want(("a", "org/a"), absent=["b"]))
        await asyncio.sleep(0.5)
        assert reconciler.status == {"a": False, "b": True}

    on_virtual_time(scenario, vllm)
    assert caplog.text.count("start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=true") == 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer(401, (), b'{"error":"Unauthorized"}'),
        Answer(200, (), b"<html>"),
        Answer(200, (), b'{"data":[1]}'),
        Answer(200, (), b"[]"),
        Answer(200, (), b"\xff"),
    ],
    ids=lambda answer: f"{answer.status} {answer.body!r}",
)
def test_a_list_that_is_none_is_complained_about_once_and_asked_for_again(answer, caplog):
    vllm = Vllm()

    async def ask(method, host, port, path, body, seconds):
        if path == "/v1/models" and asyncio.get_running_loop().time() < 1060:
            return answer
        return await Vllm.ask(vllm, method, host, port, path, body, seconds)

    vllm.ask = ask

    async def scenario(reconciler):
        reconciler.want(want(("a", "org/a")))
        await asyncio.sleep(59)
        assert reconciler.status == {"a": False}
        await asyncio.sleep(10)
        assert reconciler.status == {"a": True}

    on_virtual_time(scenario, vllm)
    assert caplog.text.count("GET /v1/models answered") == 1


def test_a_server_that_stays_ill_is_complained_about_each_health_timeout(caplog):
    vllm = Vllm()
    vllm.healthy_at = 2000.0

    async def scenario(reconciler):
        reconciler.want(want(("a", "org/a")))
        await asyncio.sleep(95)

    on_virtual_time(scenario, vllm, health_timeout=30)
    assert caplog.text.count("not healthy for") == 3
    looks = [when for when, _, _ in vllm.asked]
    pauses = [round(after - before, 6) for before, after in itertools.pairwise(looks)]
    assert pauses == sorted(pauses), "it looks ever less often"
    assert (pauses[0], pauses[-1]) == pytest.approx((0.1, 2.0))


def test_a_new_address_is_a_new_server():
    asked = []

    async def ask(method, host, port, path, body, seconds):
        asked.append((port, path))
        if port == 1:
            raise ClientError("Connection refused")
        return await vllm.ask(method, host, port, path, body, seconds)

    vllm = Vllm()

    async def scenario(reconciler):
        reconciler._ask = ask
        reconciler.want(want(("a", "org/a"), port=1))
        await asyncio.sleep(10)
        reconciler.want(want(("a", "org/a"), port=2))
        await asyncio.sleep(3)
        assert reconciler.status == {"a": True}

    on_virtual_time(scenario, vllm)
    assert {path for port, path in asked if port == 1} == {"/health"}
