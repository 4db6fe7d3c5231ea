"""KV cache that goes from server to server: what is said on the wire, and what becomes of blocks. Real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from headgate.runtime.client import Answer, Client
from headgate.runtime.server import Request, Server, Stream, serve
from headgate.runtime.simulator import Face, start
from headgate.runtime.simulator_flags import parse, settings
from headgate.sim import handover
from headgate.sim.cost import Cost
from headgate.sim.engine import Config
from headgate.sim.handover import PREFILLER, Connector, Source
from headgate.sim.service import Settings

PROMPT = "All of this is known. " * 200  # 1,100 tokens
TO_DECODE = {"do_remote_decode": True, "do_remote_prefill": False, "remote_engine_id": None}
COST = Cost(base=0.002, prefill=0.00002, transfer=0.00001)


class Simulated:
    """A simulated server, in this process."""

    def __init__(self, face: Face, server: Server, beside: Server, client: Client) -> None:
        self.face, self.port, self._servers, self._client = face, server.port, (server, beside), client
        self.blocks = face.service.engine.blocks
        self.counts = face.service.engine.counts

    async def ask(
        self, body: dict[str, Any], path: str = "/v1/completions", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        told = [("content-type", "application/json"), *(headers or {}).items()]
        answer = await self._client.fetch(
            "POST", "127.0.0.1", self.port, path, headers=told, body=json.dumps(body).encode()
        )
        return answer.status, json.loads(answer.body)

    async def close(self) -> None:
        for server in self._servers:
            await server.close()


@asynccontextmanager
async def pair(**more: Any) -> AsyncIterator[tuple[Simulated, Simulated]]:
    """Who prefills, and who decodes."""
    client, made = Client(), []
    for name in ("prefill", "decode"):
        given = Settings(("m",), "m", Config(cost=COST), connector=Connector(name, "127.0.0.1", 0, **more))
        face = Face(given)
        beside = await face.listen_beside(given.connector)
        face.service.settings = replace(given, connector=replace(given.connector, port=beside.port))
        made.append(Simulated(face, await start(face, host="127.0.0.1"), beside, client))
    try:
        yield made[0], made[1]
    finally:
        client.close()
        for one in made:
            await one.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody tells when
        await asyncio.sleep(0.002)


def test_who_prefills_says_where_the_blocks_are_and_who_decodes_computes_none_of_them() -> None:
    async def test() -> None:
        async with pair() as (prefill, decode):
            body = {"model": "m", "prompt": PROMPT, "max_tokens": 1, "kv_transfer_params": TO_DECODE}
            status, first = await prefill.ask(body)
            params = first["kv_transfer_params"]
            assert status == 200
            assert list(params) == [
                "do_remote_prefill", "do_remote_decode", "remote_block_ids", "remote_engine_id", "remote_request_id",
                "remote_host", "remote_port", "tp_size", "dcp_size", "pp_size", "remote_num_tokens",
                "remote_blocks_expiry_time", "transfer_mode", "remote_prefill_cached_tokens",
            ]  # fmt: skip
            tokens = first["usage"]["prompt_tokens"]
            assert (params["do_remote_prefill"], params["do_remote_decode"]) == (True, False)
            assert (params["remote_engine_id"], params["remote_host"]) == ("prefill", "127.0.0.1")
            assert params["remote_request_id"].startswith(f"{first['id']}-0-")
            assert params["remote_num_tokens"] == tokens
            assert len(params["remote_block_ids"][0]) == -(-tokens // 16)
            assert prefill.blocks.usage > 0  # they wait
            status, second = await decode.ask({**body, "max_tokens": 4, "kv_transfer_params": params})
            assert (status, second["kv_transfer_params"]) == (200, None)
            assert second["choices"][0]["text"].startswith(first["choices"][0]["text"])
            assert (decode.counts.prompt_tokens, decode.counts.prompt_tokens_pulled) == (tokens, tokens)
            assert decode.face.service.meter._seen["vllm:request_prefill_kv_computed_tokens"].sum == 0
            await until(lambda: prefill.blocks.usage == 0)
            # All of that is cached here now.
            await decode.ask({**body, "kv_transfer_params": None})
            assert decode.counts.prompt_tokens_cached >= tokens - 16

    run(test)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_server_that_is_told_who_prefills_asks_there_first(path: str, at_once: bool) -> None:
    async def test() -> None:
        async with pair() as (prefill, decode):
            for one in (prefill, decode):
                one.face._at_once = at_once
            said = (
                {"prompt": PROMPT} if path == "/v1/completions" else {"messages": [{"role": "user", "content": PROMPT}]}
            )
            body = {"model": "m", **said, "max_tokens": 5, "stream_options": None}
            status, alone = await decode.ask(body, path)
            assert status == 200
            decode.blocks.clear()
            status, answer = await decode.ask(body, path, {PREFILLER: f"127.0.0.1:{prefill.port}"})
            assert (status, answer["choices"], answer["usage"]) == (200, alone["choices"], alone["usage"])
            assert prefill.counts.generation_tokens == 1
            assert decode.counts.prompt_tokens_pulled == prefill.counts.prompt_tokens
            await until(lambda: prefill.blocks.usage == 0)

    run(test)


@pytest.mark.parametrize(("recompute", "expected"), [(False, 500), (True, 200)])
def test_blocks_that_are_gone_fail_the_request_or_are_computed_anew(recompute: bool, expected: int) -> None:
    async def test() -> None:
        async with pair(recompute=recompute, lease=0.05) as (prefill, decode):
            body = {"model": "m", "prompt": PROMPT, "max_tokens": 1, "kv_transfer_params": TO_DECODE}
            params = (await prefill.ask(body))[1]["kv_transfer_params"]
            await until(lambda: prefill.blocks.usage == 0)  # the lease is over
            status, answer = await decode.ask({**body, "kv_transfer_params": params})
            assert status == expected
            if not recompute:
                assert answer["error"]["type"] == "InternalServerError"
            assert decode.counts.prompt_tokens_pulled == 0
            # Another process that was told the same number has other blocks.
            for wrong in ({"remote_engine_id": "another"}, {"remote_port": 9}):
                assert (await decode.ask({**body, "kv_transfer_params": {**params, **wrong}}))[0] == expected

    run(test)


def test_a_client_that_goes_away_while_its_prompt_is_pulled_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with pair() as (prefill, decode):
            decode.face.service.engine.transfers._token_s = 1.0
            body = {"model": "m", "prompt": PROMPT, "max_tokens": 1, "kv_transfer_params": TO_DECODE}
            params = (await prefill.ask(body))[1]["kv_transfer_params"]
            asking = asyncio.create_task(decode.ask({**body, "kv_transfer_params": params}))
            await until(lambda: decode.face.service.engine.waiting == 1)
            assert prefill.blocks.usage > 0
            asking.cancel()
            await until(lambda: decode.blocks.usage == prefill.blocks.usage == 0)

    run(test)


def test_who_cannot_prefill_leaves_it_to_who_decodes_and_a_refusal_is_passed_on() -> None:
    async def test() -> None:
        async with pair() as (prefill, decode):
            body = {"model": "m", "prompt": "Hello", "max_tokens": 2}
            for where in ("127.0.0.1:9", "nobody", "127.0.0.1:x", ""):
                assert (await decode.ask(body, headers={PREFILLER: where}))[0] == 200

            def broken(request: Request) -> Answer | Stream:
                return Answer(503, (), b"full")

            other = await serve(broken, host="127.0.0.1", port=0)
            assert (await decode.ask(body, headers={PREFILLER: f"127.0.0.1:{other.port}"}))[0] == 200
            await other.close()
            assert decode.counts.prompt_tokens_pulled == 0
            told = {PREFILLER: f"127.0.0.1:{prefill.port}"}
            status, answer = await decode.ask({**body, "model": "nobody"}, headers=told)
            assert (status, answer["error"]["param"]) == (404, "model")
            assert (await decode.ask({**body, "temperature": -1}, headers=told))[0] == 400

    run(test)


def test_without_a_connector_nothing_of_it_changes_anything() -> None:
    async def test() -> None:
        client, face = Client(), Face(Settings(("m",), "m", Config(cost=COST), at_once=True))
        server = await start(face, host="127.0.0.1")
        one = Simulated(face, server, server, client)
        body = {"model": "m", "prompt": "Hello", "max_tokens": 1, "kv_transfer_params": TO_DECODE}
        status, answer = await one.ask(body, headers={PREFILLER: "127.0.0.1:9"})
        assert (status, answer["kv_transfer_params"]) == (200, None)
        assert one.blocks.usage == 0
        assert (await one.ask({**body, "kv_transfer_params": "here"}))[0] == 400
        client.close()
        await server.close()

    run(test)


NAMED = {
    "do_remote_prefill": True, "remote_block_ids": [[1]], "remote_engine_id": "e", "remote_request_id": "r",
    "remote_host": "h", "remote_port": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{name: value} for name in NAMED for value in (None, "", 0, [], {})]
    + [{"remote_port": 65536}, {"remote_port": "1"}],
)
def test_where_something_of_the_place_is_missing_there_is_nothing_to_pull(wrong: dict[str, Any]) -> None:
    assert handover.source(NAMED) == Source("h", 1, "e", "r")
    assert handover.source({**NAMED, **wrong}) is None


def test_flags_and_environment_say_where_others_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    def connector(text: str, *more: str) -> Connector | str | None:
        found = settings(parse(["--host", "10.0.0.1", "--kv-transfer-config", text, *more])[0])
        return found if isinstance(found, str) else found.connector

    nixl = '{"kv_connector": "NixlConnector", "kv_role": "kv_both", "engine_id": "e"}'
    assert connector(nixl) == Connector("e", "10.0.0.1", 5600)
    monkeypatch.setenv("VLLM_NIXL_SIDE_CHANNEL_HOST", "10.0.0.2")
    monkeypatch.setenv("VLLM_NIXL_SIDE_CHANNEL_PORT", "5601")
    assert connector(nixl) == Connector("e", "10.0.0.2", 5601)
    assert connector('{"kv_connector": "OffloadingConnector", "kv_role": "kv_both"}') is None
    many = json.dumps(
        {"kv_connector": "MultiConnector", "kv_connector_extra_config": {"connectors": [json.loads(nixl)]}}
    )
    assert isinstance(connector(many), Connector)
    extra = (
        '{"kv_connector": "NixlConnector", "kv_connector_extra_config": {"kv_lease_duration": %s}, "engine_id": "e"}'
    )
    assert connector(extra % 5) == Connector("e", "10.0.0.2", 5601, lease=5.0)
    assert "kv_lease_duration must be above 0" in str(connector(extra % 0))
    assert "--kv-transfer-config" in str(connector("[]"))
    monkeypatch.setenv("VLLM_NIXL_SIDE_CHANNEL_PORT", "many")
    assert "VLLM_NIXL_SIDE_CHANNEL_PORT" in str(connector(nixl))
