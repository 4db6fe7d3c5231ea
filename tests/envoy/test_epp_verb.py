"""`headgate epp` and `headgate bbr` as they are started: real processes, behind a real Envoy."""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import aio
from proxied import Envoy, configuration, free_port, original_dst, processor
from rig import eventually
from wire import Client, Request, Server

POOL = """
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: llama}
spec:
  selector: {matchLabels: {app: llama}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: picker, port: {number: 9002}}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: POD, labels: {app: llama}, annotations: {headgate.dev/address: "127.0.0.1:PORT"}}
"""
METRICS = "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0.1\n"
MODELS = '{"object":"list","data":[{"id":"m","object":"model"}]}'
BODY = b'{"model":"m","messages":[]}'


async def serve(request: Request) -> None:
    """As much of a model server as a picker looks at."""
    path = request.line.split(" ")[1]
    if path == "/metrics":
        await request.reply(METRICS.encode())
    elif path == "/v1/models":
        await request.reply(MODELS.encode(), headers="content-type: application/json\r\n")
    else:
        await request.reply(b'{"id":"1"}', headers="content-type: application/json\r\n")


class Verb:
    """A running `headgate epp` or `headgate bbr`."""

    def __init__(self, verb: str, state: Path, *args: str) -> None:
        self.port, self.health, self.metrics = free_port(), free_port(), free_port()
        ports = ("--grpc-port", str(self.port), "-grpc-health-port", str(self.health), f"--metrics-port={self.metrics}")
        command = [sys.executable, "-m", "headgate", verb, "--address", "127.0.0.1", *ports, *args]
        environment = {"PATH": os.environ["PATH"], "HOME": str(state), "HEADGATE_STATE": str(state)}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        self.said = ""

    def says(self, text: str) -> bool:
        assert self.process.stderr is not None
        with contextlib.suppress(TypeError):
            self.said += self.process.stderr.read() or ""
        assert self.process.poll() is None or text in self.said or "can't be had" in self.said, self.said
        return text in self.said

    async def has_said(self, text: str) -> bool:
        """Whether it says so; it may also say that a port is not to be had."""
        await eventually(lambda: self.says(text) or "can't be had" in self.said, text, within=30)
        return text in self.said

    def page(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()


@contextlib.asynccontextmanager
async def running(verb: str, state: Path, *args: str, until: str = "Ready:") -> AsyncIterator[Verb]:
    """One that has said so. A port that was free may be taken when it is asked for: then there are others."""
    one = Verb(verb, state, *args)
    try:
        for _ in range(3):
            if await one.has_said(until):
                break
            one.end()
            one = Verb(verb, state, *args)
        yield one
    finally:
        one.end()


@contextlib.asynccontextmanager
async def servers(directory: Path, count: int = 2) -> AsyncIterator[Path]:
    """Model servers, and a file with the pool that they are in."""
    made = [Server(f"s{at}", serve) for at in range(count)]
    for one in made:
        await one.start()
    path = directory / "pool.yaml"
    path.write_text(POOL + "".join(POD.replace("PORT", str(one.port)).replace("POD", one.name) for one in made))
    try:
        yield path
    finally:
        for one in made:
            await one.stop()


async def ask(port: int, body: bytes = BODY) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, writer)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-type: application/json\r\n"
    await client.send(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
    reply = await client.answer()
    await client.close()
    return reply.status, reply.body


def test_a_picker_from_files_serves_and_leaves_without_a_failed_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        flags = ("--pool-name", "llama", "-v=4", "--drain-timeout=1s")
        async with (
            servers(tmp_path) as pool,
            running("epp", tmp_path, *flags, str(pool)) as first,
            running("epp", tmp_path / "two", *flags, str(pool)) as second,
        ):
            await _used(first, second, tmp_path)

    asyncio.run(asyncio.wait_for(scenario(), 60))


async def _used(first: Verb, second: Verb, directory: Path) -> None:
    port = free_port()
    config = configuration(port, [processor("epp")], {"epp": first.port}, original_dst(), tls=True)
    cluster = next(one for one in config["static_resources"]["clusters"] if one["name"] == "epp")
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"].append(
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": second.port}}}}
    )
    service = {"service_name": "envoy.service.ext_proc.v3.ExternalProcessor"}
    times = {
        "timeout": "1s",
        "interval": "0.1s",
        "no_traffic_interval": "0.1s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
    }
    cluster["health_checks"] = [{**times, "grpc_health_check": service}]
    async with Envoy(config, port, directory), aio.insecure_channel(f"127.0.0.1:{first.health}") as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x09readiness")
        assert await watch.read() == b"\x08\x01"
        replies: list[int] = []
        stop = asyncio.Event()

        async def keep_asking() -> None:
            while not stop.is_set():
                replies.append((await ask(port))[0])

        async with asyncio.TaskGroup() as asking:
            for _ in range(3):
                asking.create_task(keep_asking())
            await eventually(lambda: len(replies) > 20)
            await _published(first, second)
            first.process.send_signal(signal.SIGTERM)
            assert await watch.read() == b"\x08\x02"
            await eventually(lambda: first.process.poll() is not None, "ended")
            count = len(replies)
            await eventually(lambda: len(replies) > count + 10)
            stop.set()
        assert first.process.returncode == 0
        assert set(replies) == {200}


async def _published(*verbs: Verb) -> None:
    pages = [await asyncio.to_thread(verb.page) for verb in verbs]
    for name in (
        *('llm_d_epp_request_total{model_name="m",target_model_name="m"', "inference_objective_request_total{"),
        *('llm_d_epp_ready_endpoints{name="llama"} 2', 'inference_pool_ready_pods{name="llama"} 2'),
        *("llm_d_epp_scheduler_e2e_duration_seconds_count", "inference_extension_scheduler_attempts_total{"),
        *('llm_d_epp_extproc_streams_total{code="OK"}', "inference_extension_info{", "headgate_requests_total{"),
    ):
        assert any(name in page for page in pages), name


def test_a_picker_shows_its_certificate_and_another_one_when_that_is_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        certificates = tmp_path / "tls"
        certificates.mkdir()
        _certificate(certificates, "one")
        async with servers(tmp_path, 1) as pool:
            flags = (
                "--endpoint-selector",
                "app=llama",
                "--endpoint-target-ports",
                "8000",
                "--cert-path",
                str(certificates),
            )
            async with running("epp", tmp_path, *flags, str(pool)) as verb:
                assert await asyncio.to_thread(_shown, verb.port) == "one"
                _certificate(certificates, "two")
                await eventually(lambda: _shown(verb.port) == "two")
                (certificates / "tls.key").write_text("no key")
                await eventually(lambda: verb.says("the one before stays"))
                assert await asyncio.to_thread(_shown, verb.port) == "two"

    asyncio.run(asyncio.wait_for(scenario(), 60))


def _certificate(directory: Path, name: str) -> None:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(today).not_valid_after(today + datetime.timedelta(days=1))
    made = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    for file, text in (("tls.key", secret), ("tls.crt", made)):
        new = directory / f"{file}.new"
        new.write_bytes(text)
        new.rename(directory / file)


def _shown(port: int) -> str:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    name = x509.load_pem_x509_certificate(pem.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return str(name)


def test_without_its_pool_a_picker_is_there_and_wants_no_requests(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with servers(tmp_path, 1) as pool:
            flags = ("--pool-name", "other", "--secure-serving=false", "--drain-timeout", "0")
            async with running("epp", tmp_path, *flags, str(pool), until="is waited for") as verb:
                async with aio.insecure_channel(f"127.0.0.1:{verb.health}") as channel:
                    check = channel.unary_unary("/grpc.health.v1.Health/Check")
                    assert await check(b"") == b"\x08\x02"
                    assert await check(b"\x0a\x08liveness") == b"\x08\x01"
                    pool.write_text(pool.read_text().replace("name: llama}", "name: other}", 1))
                    await _becomes(check, b"\x08\x01")
                verb.process.send_signal(signal.SIGTERM)
                await eventually(lambda: verb.process.poll() is not None)
                assert verb.process.returncode == 0

    asyncio.run(asyncio.wait_for(scenario(), 60))


async def _becomes(check: aio.UnaryUnaryMultiCallable, wanted: bytes) -> None:
    deadline = time.monotonic() + 20
    while await check(b"") != wanted:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_body_based_routing_by_itself(tmp_path: Path) -> None:
    maps = tmp_path / "maps.yaml"
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "bases", "labels": {"inference.networking.k8s.io/bbr-managed": "true"}},
        "data": {"baseModel": "base", "adapters": "- m\n"},
    }
    maps.write_text(json.dumps(config_map))

    async def scenario() -> None:
        async with running(
            "bbr", tmp_path, "--secure-serving=false", "--drain-timeout=0", "--zap-encoder=json", str(maps)
        ) as verb:
            port = free_port()
            name = {"name": "x-gateway-base-model-name", "string_match": {"exact": "base"}}
            answer = {"match": {"prefix": "/", "headers": [name]}, "direct_response": {"status": 200}}
            config = configuration(
                port, [processor("bbr", response="NONE")], {"bbr": verb.port}, original_dst(), routes=[answer]
            )
            async with Envoy(config, port, tmp_path):
                assert (await ask(port))[0] == 200
                assert (await ask(port, b'{"model":"x"}'))[0] == 404
                large = json.dumps({"model": "m", "prompt": "x" * 3_000_000}).encode()
                assert (await ask(port, large))[0] == 200
            page = await asyncio.to_thread(verb.page)
            assert "bbr_success_total 3" in page
            assert 'bbr_plugin_duration_seconds_count{plugin_type="base-model-to-header"' in page
            verb.process.send_signal(signal.SIGTERM)
            await eventually(lambda: verb.process.poll() is not None)
            assert verb.process.returncode == 0

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize(
    ("verb", "args", "said"),
    [
        ("epp", ("--pool-nme", "x"), "did you mean --pool-name?"),
        ("epp", (), "which pool?"),
        ("epp", ("--pool-name", "x", "--cert-path", "/nowhere", "x.yaml"), "/nowhere/tls.crt"),
        ("bbr", ("--error-body", "xml"), "write text or openai"),
    ],
)
def test_mistakes_are_said_without_a_traceback(
    verb: str, args: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from headgate.cli import main

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert main([verb, *args]) in (1, 2)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert said in capsys.readouterr().err
