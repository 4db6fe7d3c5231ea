"""Tokens in flight: of the prompt until the answer begins, of the answer until it ends; of nothing that is over."""

import asyncio

import pytest
from rig import Rig, eventually, run
from wire import SSE, Request, chunk, hang

from headgate.fleet.prefix import ladder
from headgate.pick.filters import Sieve
from headgate.pick.profile import Profile
from headgate.pick.stages import Decider, Stages
from headgate.pick.wants import Estimate, Wants

_PROMPT = "x" * 400
_BODY = b'{"model":"m","prompt":"%b","max_tokens":7}' % _PROMPT.encode()
_ASK = b"POST /v1/completions HTTP/1.1\r\nhost: gw\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
ASK = _ASK % (len(_BODY), _BODY)
PROMPT = (len(_PROMPT) + 2) // 4  # with its quotation marks


def counting(output: bool = False) -> Profile:
    return Profile("mine", (("queue-scorer", 1.0),), wants=Wants(estimate=Estimate(output=output)))


@pytest.mark.parametrize(("output", "rest"), [(False, 0), (True, 7)])
def test_the_prompt_counts_until_a_stream_begins_and_the_answer_until_it_ends(output, rest):
    async def scenario(rig: Rig):
        begin, end = asyncio.Event(), asyncio.Event()

        async def answer(request: Request) -> None:
            await begin.wait()
            await request.write(SSE + chunk(b"data: {}\n\n"))
            await end.wait()
            await request.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

        await rig.backend(answer)
        client = await rig.client()
        await client.send(ASK)
        await eventually(lambda: rig.ledger.total() == 1)
        assert rig.ledger.tokens.total() == PROMPT + rest
        begin.set()
        await eventually(lambda: rig.ledger.tokens.total() == rest)
        assert rig.ledger.total() == 1
        end.set()
        assert (await client.answer()).status == 200
        assert rig.ledger.tokens.total() == 0

    run(scenario, profile=counting(output))


def test_a_request_counts_where_it_is_sent_in_the_end_and_nowhere_when_its_client_leaves():
    async def scenario(rig: Rig):
        rig.nobody()
        await rig.backend(hang)
        client = await rig.client()
        await client.send(ASK)
        await eventually(lambda: rig.ledger.tokens.count("ns/b1") == PROMPT)
        assert rig.ledger.tokens.count("ns/b0") == 0
        await client.close()
        await eventually(lambda: rig.ledger.tokens.total() == 0)

    run(scenario, profile=counting())


def test_who_helps_has_it_under_way_until_the_answer_begins_and_knows_the_prompt():
    prefill = Profile(
        "prefill", (), sieves=(Sieve("second", lambda ask, one, load, count: one.name == "ns/b1"),), apart=True
    )
    handler = Stages({"prefill": prefill}, "prefill", "encode", Decider())
    chosen = Profile("decode", (("queue-scorer", 1.0),), wants=Wants(estimate=Estimate()), apart=True, handler=handler)

    async def scenario(rig: Rig):
        begin, end, seen = asyncio.Event(), asyncio.Event(), []

        async def answer(request: Request) -> None:
            seen.append(request.headers.get("x-prefiller-host-port"))
            await begin.wait()
            await request.write(SSE + chunk(b"data: {}\n\n"))
            await end.wait()
            await request.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

        await rig.backend(answer)
        other = await rig.backend(hang)
        client = await rig.client()
        await client.send(ASK)
        await eventually(lambda: seen == [f"127.0.0.1:{other.port}"])
        assert (rig.ledger.count("ns/b0"), rig.ledger.count("ns/b1")) == (1, 1)
        assert rig.ledger.tokens.count("ns/b1") == PROMPT
        begin.set()
        await eventually(lambda: rig.ledger.count("ns/b1") == rig.ledger.tokens.count("ns/b1") == 0)
        assert rig.ledger.count("ns/b0") == 1
        end.set()
        assert (await client.answer()).status == 200
        assert len(rig.prefixes.match(ladder("m", b'"' + _PROMPT.encode()))) == 2

    run(scenario, profile=chosen)
