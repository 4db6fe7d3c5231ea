"""The `openai` client, asynchronous, plain and streaming, in front of a gateway and two model servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from planes import PLANES, flags
from running import Running
from written import system

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
TOGETHER = 60


@pytest.fixture(scope="module", params=PLANES)
def gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("clients")
    args = ("--sim-speed", "0", *flags(request.param))
    with Running(directory, system(directory / "manifests", replicas=2), args=args) as running:
        yield running


def with_client(gate: Running, scenario: Callable[[AsyncOpenAI], Awaitable[None]]) -> None:
    async def play() -> None:
        url = f"http://{gate.address}:8080/v1"
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=20) as client:
            await asyncio.wait_for(scenario(client), 60)

    asyncio.run(play())


def test_the_asynchronous_client_asks_many_at_a_time(gate: Running) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        async def one(model: str) -> None:
            answer = await client.chat.completions.create(model=model, messages=HELLO)
            assert answer.model == model
            assert answer.choices[0].message.content
            assert answer.usage is not None
            assert answer.usage.completion_tokens > 0

        await asyncio.gather(*(one(("base", "food-review")[n % 2]) for n in range(TOGETHER)))

    with_client(gate, scenario)


async def chunks(
    client: AsyncOpenAI, model: str, *, usage: bool, n: int = 1
) -> AsyncIterator[openai.types.chat.ChatCompletionChunk]:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True, n=n, **options)  # type: ignore[call-overload]
    async for chunk in stream:
        yield chunk


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("n", [1, 3])
def test_the_asynchronous_client_streams_many_at_a_time(gate: Running, usage: bool, n: int) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        async def one(model: str) -> None:
            found = [chunk async for chunk in chunks(client, model, usage=usage, n=n)]
            assert {chunk.model for chunk in found} == {model}
            assert len({chunk.id for chunk in found}) == 1, "chunks of several answers"
            ended = [choice.index for chunk in found for choice in chunk.choices if choice.finish_reason]
            assert sorted(ended) == list(range(n))
            told = [chunk for chunk in found if chunk.usage is not None]
            assert len(told) == usage, "usage comes once to who asked for it, and to nobody else"
            assert all(chunk.choices for chunk in found if chunk not in told)

        await asyncio.gather(*(one(("base", "food-review")[n % 2]) for n in range(TOGETHER // 3)))

    with_client(gate, scenario)


def test_completions_and_responses_stream_too(gate: Running) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        texts = [
            part.choices[0].text
            async for part in await client.completions.create(model="base", prompt="Hi", stream=True)
        ]
        assert "".join(texts)
        answer = await client.completions.create(model="food-review", prompt="Hi")
        assert answer.choices[0].text
        kinds = [event.type async for event in await client.responses.create(model="base", input="Hi", stream=True)]
        assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
        assert (await client.responses.create(model="base", input="Hi")).output_text

    with_client(gate, scenario)


def test_a_stream_that_is_left_early_leaves_the_client_and_the_gateway_as_they_were(gate: Running) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        for _ in range(20):
            async for _chunk in chunks(client, "base", usage=False):
                break
        answer = await client.chat.completions.create(model="base", messages=HELLO)
        assert answer.choices[0].message.content

    with_client(gate, scenario)
    gate.until(lambda: all(row["in_flight"] == 0 for row in gate.get("endpoints")))


def test_errors_are_the_exceptions_that_the_client_has_for_them(gate: Running) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.chat.completions.create(model="gpt-9", messages=HELLO)
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError) as wrong:
            await client.chat.completions.create(model="base", messages="no list")  # type: ignore[arg-type]
        assert wrong.value.request_id
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="gpt-9", messages=HELLO, stream=True)

    with_client(gate, scenario)


def test_the_synchronous_client_reads_raw_and_streamed_answers(gate: Running) -> None:
    with OpenAI(base_url=f"http://{gate.address}:8080/v1", api_key="none", max_retries=0, timeout=20) as client:
        raw = client.chat.completions.with_raw_response.create(model="base", messages=HELLO)
        assert raw.headers["x-request-id"] == raw.request_id
        assert raw.parse().choices[0].message.content
        with client.chat.completions.with_streaming_response.create(
            model="base", messages=HELLO, stream=True
        ) as stream:
            lines = [line for line in stream.iter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        mine = client.chat.completions.with_raw_response.create(
            model="base", messages=HELLO, extra_headers={"x-request-id": "mine"}
        )
        assert mine.headers["x-request-id"] == "mine"
