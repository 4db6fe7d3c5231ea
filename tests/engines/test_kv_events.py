"""The KV events of a real vLLM: what it says, what we know by it, and where a prompt goes by that."""

import asyncio
import json
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from vllm_server import Vllm

from headgate.exchange.body import read_body
from headgate.exchange.events import Forward
from headgate.fleet.endpoint import Endpoint, Load, Served
from headgate.fleet.held_blocks import HeldBlocks
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, Rungs, ladder
from headgate.pick.choose import choose
from headgate.pick.decision import Ask, Decision
from headgate.pick.profile import Profile
from headgate.pick.scorers import precise
from headgate.pick.standing import Standing
from headgate.runtime.client import Client
from headgate.runtime.kv_events import Follower
from headgate.runtime.kv_source import EARLY, Where
from headgate.runtime.learner import Learner

PORT, REPLAY = 15571, 15572
EVENTS = {
    "enable_kv_cache_events": True,
    "publisher": "zmq",
    "topic": "kv@pod@tiny-llama",
    "endpoint": f"tcp://*:{PORT}",
    "replay_endpoint": f"tcp://*:{REPLAY}",
}
SIZE, BLOCKS = 32, 64
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n\r\n"
PROFILE = Profile(
    "precise", (("precise-prefix-cache-scorer", 1.0),), made={"precise-prefix-cache-scorer": (precise, False)}
)
LOAD = Load(
    0, 0, 0.0, block_size=SIZE, blocks=BLOCKS, models=(Served("tiny-llama"), Served("food-review", "tiny-llama"))
)


@pytest.fixture(scope="module")
def vllm(start_vllm: Callable[..., Vllm], models: Path) -> Iterator[Vllm]:
    """With a cache of 2,048 tokens, which a few prompts fill."""
    words = (
        f"--served-model-name tiny-llama --max-model-len 1024 --block-size {SIZE} --num-gpu-blocks-override {BLOCKS}"
    )
    lora = ["--enable-lora", "--lora-modules", f"food-review={models / 'food-review'}"]
    server = start_vllm(
        "--model", str(models / "base"), *words.split(), *lora, "--kv-events-config", json.dumps(EVENTS),
        environment={"VLLM_SERVER_DEV_MODE": "1"},
    )  # fmt: skip
    yield server.ready()
    server.stop()


class Rig:
    """What the gateway has beside its requests: who follows events, who learns prompts, the index."""

    def __init__(self, vllm: Vllm) -> None:
        self.vllm = vllm
        self.held, self.index = HeldBlocks(), PrefixIndex()
        self.index.held = self.held
        self.client = Client()
        self.real = Endpoint("real", vllm.host, vllm.port, kv_events="")
        self.other = Endpoint("other", "127.0.0.1", 9, kv_events="")
        self.follower = Follower(self.held, lambda name: None)
        self.learner = Learner(self.client, self.held, lambda name: LOAD)
        self.held.follow("other", whole=True)  # of which it is known that it holds nothing
        self.watch()

    def watch(self) -> None:
        self.follower.watch([Where("real", self.vllm.host, PORT, REPLAY, "kv@")])

    @property
    def blocks(self) -> int:
        return len(self.held.holding("real") or ())

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - nobody tells when
                await asyncio.sleep(0.01)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        def ask() -> Any:
            headers = {"content-type": "application/json"}
            request = urllib.request.Request(self.vllm.url + path, json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())

        return await asyncio.to_thread(ask)

    async def chat(self, text: str, model: str = "tiny-llama") -> tuple[Rungs, int]:
        """As the gateway would have sent it: what is known of the prompt, and how many full blocks it has."""
        body = said(text, model)
        told = await self.post("/v1/chat/completions", body)
        rungs = rungs_of(body)
        self.learner.sent(Forward(self.real, CHAT, json.dumps(body).encode(), rungs))
        return rungs, told["usage"]["prompt_tokens"] // SIZE

    async def clear(self) -> None:
        """Forget all. It tells of that with its next step, for which a prompt of less than a block will do."""
        await self.until(lambda: self.follower.note("real") == "")
        assert await self.post("/reset_prefix_cache", {}) == {"success": True}
        await self.post("/v1/completions", {"model": "tiny-llama", "prompt": "Hi", "max_tokens": 1})
        await self.until(lambda: self.blocks == 0)

    def chosen(self, text: str, model: str = "tiny-llama") -> Decision:
        endpoints = (self.other, self.real)
        standing = Standing("pool", endpoints, {one.name: LOAD for one in endpoints}, Ledger(), self.index)
        body = said(text, model)
        return choose(Ask(model, rungs_of(body), len(text)), standing, PROFILE, lambda: 0.0)


def said(text: str, model: str = "tiny-llama") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 1}


def rungs_of(body: dict[str, Any]) -> Rungs:
    reading = read_body(b"application/json", json.dumps(body).encode())
    return ladder(reading.model, reading.prompt)


def play(vllm: Vllm, scene: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        wrong: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
        rig = Rig(vllm)
        try:
            await scene(rig)
        finally:
            await rig.learner.stop()
            rig.follower.close()
            rig.client.close()
        assert not wrong

    asyncio.run(main())


TEXT = "All of this is known to one of two. " * 20  # 17 blocks


def test_we_hold_the_blocks_that_it_says_and_a_second_prompt_goes_by_them(vllm: Vllm) -> None:
    async def scene(rig: Rig) -> None:
        await rig.clear()
        assert rig.chosen(TEXT).tied == 2
        _, full = await rig.chat(TEXT)
        assert full > 10
        await rig.until(lambda: rig.blocks == full)
        await rig.until(lambda: rig.learner.outcomes["learned"] == 1)
        for _ in range(4):
            rig.held.turn()  # nothing counts because it was sent
        decision = rig.chosen(TEXT + "And this is new.")
        assert decision.endpoint == rig.real
        assert decision.tied == 1
        # Adapters have blocks of their own.
        assert rig.chosen(TEXT, "food-review").tied == 2
        await rig.chat(TEXT, "food-review")
        await rig.until(lambda: rig.blocks == 2 * full)
        await rig.until(lambda: rig.learner.outcomes["learned"] == 2)
        assert rig.chosen(TEXT, "food-review").endpoint == rig.real
        assert rig.learner.outcomes["failed"] == 0

    play(vllm, scene)


def test_what_is_evicted_or_cleared_draws_nobody(vllm: Vllm) -> None:
    async def scene(rig: Rig) -> None:
        await rig.clear()
        _, full = await rig.chat(TEXT)
        await rig.until(lambda: rig.learner.outcomes["learned"] == 1 and rig.blocks == full)
        assert rig.chosen(TEXT).endpoint == rig.real
        for number in range(6):
            await rig.post("/v1/chat/completions", said(f"{number} is something else altogether. " * 20))
        await rig.until(lambda: rig.chosen(TEXT).tied == 2)
        assert rig.blocks <= BLOCKS
        last = "5 is something else altogether. " * 20
        rig.learner.sent(Forward(rig.real, CHAT, json.dumps(said(last)).encode(), rungs_of(said(last))))
        await rig.until(lambda: rig.learner.outcomes["learned"] == 2)
        assert rig.chosen(last).endpoint == rig.real
        await rig.clear()
        assert rig.chosen(last).tied == 2
        assert rig.follower.note("real") == ""

    play(vllm, scene)


def test_who_follows_it_late_is_told_all_that_came_before(vllm: Vllm) -> None:
    async def scene(rig: Rig) -> None:
        await rig.clear()
        _, full = await rig.chat(TEXT)
        await rig.until(lambda: rig.learner.outcomes["learned"] == 1 and rig.blocks == full)
        rig.follower.watch([])
        assert rig.follower.note("real") is None
        rig.watch()
        await rig.until(lambda: rig.follower.note("real") not in ("", EARLY))
        await rig.until(lambda: rig.follower.note("real") == "")
        await rig.until(lambda: rig.blocks == full)
        assert rig.chosen(TEXT).endpoint == rig.real

    play(vllm, scene)
