"""`headgate epp` in a cluster: a process of its own, before a small API server; and who may read its metrics."""

import asyncio
from pathlib import Path
from typing import Any

import applied as written
import pytest
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from fake_api import FakeApi, kubeconfig, pod, until
from grpc import aio
from speaking import Speaking

from headgate.runtime.epp.guard import Guard
from headgate.runtime.kubernetes.client import Answer, Unreachable
from headgate.runtime.server import Answer as HttpAnswer
from headgate.runtime.server import Request, serve

_JSON = (("content-type", "application/json"),)


def _model_server(request: Request) -> HttpAnswer:
    if request.path == "/v1/models":
        return HttpAnswer(200, _JSON, b'{"data": [{"id": "base"}]}')
    return HttpAnswer(200, (), b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n")


def _head(method: bytes, path: bytes, *, end: bool) -> bytes:
    request = ProcessingRequest()
    for key, value in ((":path", path), (":method", method), (":authority", b"gw")):
        header = request.request_headers.headers.headers.add()
        header.key, header.raw_value = key, value
    request.request_headers.end_of_stream = end
    return request.SerializeToString()


def _body(text: bytes) -> bytes:
    request = ProcessingRequest()
    request.request_body.body = text
    request.request_body.end_of_stream = True
    return request.SerializeToString()


def _call(channel: aio.Channel) -> aio.StreamStreamCall[bytes, ProcessingResponse]:
    method = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
    return channel.stream_stream(method, response_deserializer=ProcessingResponse.FromString)()


async def _picked(channel: aio.Channel) -> str:
    """Where a request without a body is sent; the status where it is not."""
    call = _call(channel)
    try:
        await call.write(_head(b"GET", b"/v1/models", end=True))
        answer = await call.read()
    except aio.AioRpcError as error:
        return str(error.code())
    call.cancel()
    if answer.WhichOneof("response") == "immediate_response":
        return str(answer.immediate_response.status.code)
    return str(answer.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"])


class Picker(Speaking):
    """`headgate epp`, or another one that a proxy asks."""

    def __init__(self, state: Path, api: FakeApi, *args: str, verb: str = "epp") -> None:
        ports = ("--grpc-port", "0", "--grpc-health-port", "0", "--metrics-port", "0")
        where = (
            "--address",
            "127.0.0.1",
            "--kubeconfig",
            str(kubeconfig(state, api.url)),
            *ports,
            "--secure-serving=false",
        )
        super().__init__(state, verb, *where, *args)

    @property
    def port(self) -> int:
        return int(self.said.partition(" at 127.0.0.1:")[2].partition(" ")[0].rstrip("."))


@pytest.mark.parametrize(
    "args", [("--pool-name", "pool"), ("--endpoint-selector", "app=vllm", "--endpoint-target-ports")]
)
def test_a_picker_follows_its_pool_and_the_pods_of_it_and_writes_nothing(args: tuple[str, ...], tmp_path: Path) -> None:
    async def scenario() -> None:
        first = await serve(_model_server, host="127.9.8.1", port=0)
        second = await serve(_model_server, host="127.9.8.2", port=first.port)
        flags = (*args, str(first.port)) if args[-1].endswith("ports") else args
        async with FakeApi() as api:
            await api.put(written.pool(port=first.port))
            await api.put(written.pool("other", port=1))
            await api.put(pod("a", address="127.9.8.1"))
            picker = Picker(tmp_path, api, *flags)
            try:
                await until(lambda: picker.says("Ready:"), 30)
                async with aio.insecure_channel(f"127.0.0.1:{picker.port}") as channel:
                    await _until_picked(channel, f"127.9.8.1:{first.port}")
                    await api.put(pod("b", address="127.9.8.2"))
                    await api.delete("Pod", "a")
                    await _until_picked(channel, f"127.9.8.2:{first.port}")
                    await api.delete("Pod", "b")
                    await _until_picked(channel, "503")
                    if "--pool-name" in flags:
                        await api.delete("InferencePool", "pool")
                        await _until_picked(channel, "StatusCode.UNAVAILABLE")
            finally:
                picker.end()
            assert {method for method, _ in api.requests} == {"GET"}
            assert not [path for _, path in api.requests if "secrets" in path or "leases" in path]
        await first.close(0)
        await second.close(0)

    asyncio.run(asyncio.wait_for(scenario(), 60))


async def _until_picked(channel: aio.Channel, wanted: str) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    while (found := await _picked(channel)) != wanted:
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.02)


async def _base(channel: aio.Channel, model: str) -> str:
    """What the header with the base model of a request is to say; the status where it was refused."""
    call = _call(channel)
    await call.write(_head(b"POST", b"/v1/chat/completions", end=False))
    await call.write(_body(b'{"model": "%s"}' % model.encode()))
    answer = await call.read()
    call.cancel()
    if answer.WhichOneof("response") == "immediate_response":
        return str(answer.immediate_response.status.code)
    told = answer.request_headers.response.header_mutation.set_headers
    return {one.header.key.lower(): one.header.raw_value.decode() for one in told}["x-gateway-base-model-name"]


def _bases(base: str, *adapters: str) -> dict[str, Any]:
    found = written.config_map("bases", baseModel=base, adapters="".join(f"- {one}\n" for one in adapters))
    found["metadata"]["labels"] = {"inference.networking.k8s.io/bbr-managed": "true"}
    return found


def test_body_based_routing_follows_the_config_maps_with_base_models(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeApi() as api:
            await api.put(_bases("llama", "food"))
            router = Picker(tmp_path, api, verb="bbr")
            try:
                await until(lambda: router.says("Ready:"), 30)
                async with aio.insecure_channel(f"127.0.0.1:{router.port}") as channel:

                    async def told(model: str, base: str) -> None:
                        deadline = asyncio.get_running_loop().time() + 20
                        while (found := await _base(channel, model)) != base:
                            assert asyncio.get_running_loop().time() < deadline, found
                            await asyncio.sleep(0.02)

                    await told("food", "llama")
                    await told("llama", "llama")
                    await told("other", "")
                    await api.put(_bases("gemma", "food", "other"))
                    await told("food", "gemma")
                    await told("other", "gemma")
                    await told("llama", "")
                    await api.delete("ConfigMap", "bases")
                    await told("food", "")
            finally:
                router.end()
            assert {method for method, _ in api.requests} == {"GET"}
            asked = {path.partition("?")[0].rpartition("/")[2] for _, path in api.requests}
            assert asked <= {"configmaps", "v1", "apis"}

    asyncio.run(asyncio.wait_for(scenario(), 60))


class Reviews:
    """An API server that knows two tokens, and that one of their owners may read metrics."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    async def ask(self, method: str, path: str, *, body: Any) -> Answer:
        import msgspec

        self.asked.append(body["kind"])
        if self.away:
            raise Unreachable("gone")
        spec = body["spec"]
        if body["kind"] == "TokenReview":
            known = spec["token"] in ("reader", "other")
            status: dict[str, Any] = {"authenticated": known, "user": {"username": spec["token"], "groups": ["g"]}}
        else:
            assert spec["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
            status = {"allowed": spec["user"] == "reader"}
        return Answer(201, {}, msgspec.json.encode({"status": status}))


def test_metrics_are_shown_to_who_may_read_them() -> None:
    now = 0.0
    reviews = Reviews()
    guard = Guard(reviews, lambda: now)  # type: ignore[arg-type]
    handle = guard.before(lambda request: HttpAnswer(200, (), b"page"))

    async def get(path: str, token: str | None = None) -> int:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        answer = handle(Request("GET", path, "", headers, b""))
        found = answer if isinstance(answer, HttpAnswer) else await answer
        assert (found.body == b"page") is (found.status == 200)
        return int(found.status)  # type: ignore[union-attr]

    async def scenario() -> None:
        nonlocal now
        assert await get("/healthz") == 200
        assert await get("/metrics") == 401
        assert await get("/metrics", "forged") == 401
        assert await get("/metrics", "other") == 403
        assert await get("/metrics", "reader") == 200
        asked = len(reviews.asked)
        assert await get("/metrics", "reader") == 200
        assert len(reviews.asked) == asked  # it is known for a while
        reviews.away, now = True, 61.0
        assert await get("/metrics", "reader") == 500
        reviews.away = False
        assert await get("/metrics", "reader") == 200

    asyncio.run(scenario())
