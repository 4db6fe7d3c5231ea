"""The syncer as people run it: a process, a file, a server on a socket."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from lora_fakes import Vllm

from headgate.runtime.client import Client, ClientError
from headgate.runtime.server import serve
from headgate.runtime.syncer import ConfigFile, main

HOST = "127.0.0.1"
HEADGATE = (sys.executable, "-m", "headgate")


def config(port, *exist, absent=()):
    models = ", ".join(f"{{id: {name}, source: {source}}}" for name, source in exist)
    gone = ", ".join(f"{{id: {name}}}" for name in absent)
    return (
        f"vLLMLoRAConfig: {{port: {port}, ensureExist: {{models: [{models}]}}, ensureNotExist: {{models: [{gone}]}}}}\n"
    )


@asynccontextmanager
async def serving(vllm, port=0):
    async def handler(request):
        return await vllm.ask(request.method, HOST, 0, request.path, request.body, 0)

    server = await serve(handler, host=HOST, port=port)
    try:
        yield server.port
    finally:
        await server.close(grace=0)


class Syncer:
    """A syncer process; `log` is what it has said so far."""

    def __init__(self, process):
        self.process = process
        self.log = ""

    async def read(self):
        while line := await self.process.stderr.readline():
            self.log += line.decode()

    async def says(self, text, seconds=10.0):
        await until(lambda: text in self.log, f"{text!r} in the log:\n{{}}", seconds, lambda: self.log)

    async def page(self):
        await self.says("metrics at http://")
        port = int(self.log.partition("metrics at http://")[2].partition("/metrics")[0].rpartition(":")[2])
        client = Client()
        try:
            return await client.fetch("GET", HOST, port, "/metrics")
        finally:
            client.close()


@asynccontextmanager
async def syncing(path, *flags, **environment):
    process = await asyncio.create_subprocess_exec(
        *HEADGATE, "lora-syncer", "--config", str(path), "--metrics-port", "0", *flags,
        env={**os.environ, "HEADGATE_POD_ADDRESS": HOST, **environment}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    syncer = Syncer(process)
    reader = asyncio.create_task(syncer.read())
    try:
        yield syncer
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(3):
                assert await process.wait() == 0, syncer.log
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reader
    assert "Traceback" not in syncer.log, syncer.log


async def until(holds, what, seconds=10.0, *details):
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not holds():
        assert loop.time() < deadline, f"not within {seconds} s: " + what.format(*(detail() for detail in details))
        await asyncio.sleep(0.02)


FAST = ("--health-check-interval", "0.1", "--reconcile-trigger", "0.3")


def test_it_follows_a_configmap_volume_whose_symlinks_are_swapped(tmp_path):
    # As the kubelet lays it out: configmap.yaml → ..data/configmap.yaml, ..data → a directory of its own each time.
    def publish(text, version):
        directory = tmp_path / f"..{version}"
        directory.mkdir()
        (directory / "configmap.yaml").write_text(text)
        (tmp_path / "..tmp").symlink_to(directory.name)
        (tmp_path / "..tmp").rename(tmp_path / "..data")

    async def scenario():
        vllm = Vllm()
        vllm.adapters = {"stranger": "x"}
        async with serving(vllm) as port:
            publish(config(port, ("a", "org/a")), 1)
            (tmp_path / "configmap.yaml").symlink_to("..data/configmap.yaml")
            async with syncing(tmp_path / "configmap.yaml", *FAST) as syncer:
                await until(lambda: vllm.adapters == {"stranger": "x", "a": "org/a"}, "a is loaded")
                publish(config(port, ("b", "org/b"), absent=["a", "c"]), 2)
                await until(lambda: vllm.adapters == {"stranger": "x", "b": "org/b"}, "b is loaded, a is not")
                await syncer.says("unloaded a")
                page = await syncer.page()
                assert ("content-type", "text/plain; version=0.0.4; charset=utf-8") in page.headers
                assert page.body.decode() == (
                    "# HELP lora_syncer_adapter_status Status of LoRA adapters (1=loaded, 0=not_loaded)\n"
                    "# TYPE lora_syncer_adapter_status gauge\n"
                    'lora_syncer_adapter_status{adapter_name="a"} 0\n'
                    'lora_syncer_adapter_status{adapter_name="b"} 1\n'
                    'lora_syncer_adapter_status{adapter_name="c"} 0\n'
                )

    asyncio.run(scenario())


def test_it_keeps_a_simulators_adapters_across_its_sudden_end(tmp_path):
    path = tmp_path / "configmap.yaml"
    client = Client()

    async def models(port):
        try:
            answer = await client.fetch("GET", HOST, port, "/v1/models")
        except ClientError:
            return {}
        return {entry["id"]: entry["root"] for entry in json.loads(answer.body)["data"]}

    @asynccontextmanager
    async def simulating(port):
        flags = ("--model", "base", "--enable-lora", "--host", HOST, "--port", str(port), "--speed", "0")
        process = await asyncio.create_subprocess_exec(
            *HEADGATE, "sim", *flags,
            env={**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true"}, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield
        finally:
            process.kill()
            await process.wait()

    async def comes_to_have(port, wanted):
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 10
        while await models(port) != wanted:
            assert loop.time() < deadline, await models(port)
            await asyncio.sleep(0.05)

    async def scenario():
        async with serving(Vllm()) as port:
            pass  # a port that was free a moment ago
        path.write_text(config(port, ("a", "org/a"), ("b", "org/b")))
        async with syncing(path, *FAST):
            async with simulating(port):
                await comes_to_have(port, {"base": "base", "a": "org/a", "b": "org/b"})
                path.write_text(config(port, ("a", "org/a2"), absent=["b"]))
                await comes_to_have(port, {"base": "base", "a": "org/a2"})
            async with simulating(port):
                await comes_to_have(port, {"base": "base", "a": "org/a2"})
        client.close()

    asyncio.run(scenario())


def test_file_and_server_may_come_later_and_the_server_may_come_back_empty(tmp_path):
    path = tmp_path / "configmap.yaml"

    async def scenario():
        async with syncing(path, *FAST) as syncer:
            await syncer.says(f"{path}: No such file or directory; waiting for it")
            vllm = Vllm()
            async with serving(vllm) as port:
                path.write_text(config(port, ("a", "org/a")))
                await until(lambda: vllm.adapters == {"a": "org/a"}, "a is loaded")
            await syncer.says("is gone: ")
            assert b'adapter_name="a"} 0' in (await syncer.page()).body
            path.unlink()
            await syncer.says("keeping to what it said before")
            again = Vllm()
            async with serving(again, port):
                await until(lambda: again.adapters == {"a": "org/a"}, "a is loaded again")

    asyncio.run(scenario())


def test_an_edit_with_a_mistake_is_told_with_its_line_and_not_used(tmp_path):
    path = tmp_path / "configmap.yaml"

    async def scenario():
        vllm = Vllm()
        async with serving(vllm) as port:
            path.write_text(config(port, ("a", "org/a")))
            async with syncing(path, *FAST) as syncer:
                await until(lambda: "a" in vllm.adapters, "a is loaded")
                path.write_text(config(port, ("b", "org/b")) + "extra: [\n")
                await syncer.says(f"{path}:3: is not YAML")
                await syncer.says("is not used: keeping to the last good one")
                vllm.adapters.clear()
                await until(lambda: "a" in vllm.adapters, "a is loaded again, so the last good one is in force")
                path.write_text(config(port, ("a", "org/a"), ("b", "org/b")))
                await until(lambda: "b" in vllm.adapters, "b is loaded")

    asyncio.run(scenario())


def test_without_validation_what_can_be_read_is_used(tmp_path):
    path = tmp_path / "configmap.yaml"
    path.write_text("vLLMLoRAConfig: {ensureExist: {models: [{id: a, source: s}, {id: 7, source: s}]}}")
    assert ConfigFile(str(path)).poll() is None
    desired = ConfigFile(str(path), strict=False).poll()
    assert desired is not None
    assert [adapter.id for adapter in desired.exist] == ["a"]


def test_the_pods_address_stands_for_localhost_and_for_nothing_else(tmp_path):
    path = tmp_path / "configmap.yaml"
    for written, used in {"localhost": "127.77.0.3", "127.0.0.1": "127.77.0.3", "10.0.0.1": "10.0.0.1"}.items():
        path.write_text(f"vLLMLoRAConfig: {{host: {written}}}")
        desired = ConfigFile(str(path), pod_address="127.77.0.3").poll()
        assert desired is not None
        assert desired.host == used


def test_where_the_address_is_not_the_pods_alone_its_ports_are_others(tmp_path):
    path = tmp_path / "configmap.yaml"
    ports = {8000: 20001}
    for written, used in {"port: 8000": 20001, "port: 9000": 9000, "host: 10.0.0.1": 8000, "port: ": 20001}.items():
        path.write_text(f"vLLMLoRAConfig: {{{written}}}")
        desired = ConfigFile(str(path), pod_address="127.0.0.1", pod_ports=ports).poll()
        assert desired is not None
        assert desired.port == used


def test_a_listing_of_ports_that_is_none_is_told(monkeypatch, caplog):
    monkeypatch.setenv("HEADGATE_POD_PORTS", "8000=x")
    assert main([]) == 2
    assert "HEADGATE_POD_PORTS: 'x' is not a port number" in caplog.text


def test_sigterm_ends_it_at_once_while_it_waits_for_a_server_that_hangs(tmp_path):
    path = tmp_path / "configmap.yaml"

    async def scenario():
        vllm = Vllm()
        vllm.seconds = {"huge": 3600.0}
        async with serving(vllm) as port:
            path.write_text(config(port, ("a", "huge")))
            async with syncing(path, *FAST):
                await until(lambda: vllm.calls("load"), "the load is under way")

    asyncio.run(scenario())


def test_a_metrics_port_that_is_taken_costs_the_metric_only(tmp_path):
    path = tmp_path / "configmap.yaml"

    async def scenario():
        vllm = Vllm()
        async with serving(vllm) as port:
            path.write_text(config(port, ("a", "org/a")))
            async with syncing(path, *FAST, "--metrics-port", str(port)) as syncer:
                await until(lambda: "a" in vllm.adapters, "a is loaded")
                await syncer.says(f"no metrics: port {port} can't be had")

    asyncio.run(scenario())


def test_the_file_may_be_named_by_the_environment_as_in_the_guides(tmp_path):
    path = tmp_path / "configmap.yaml"

    async def scenario():
        process = await asyncio.create_subprocess_exec(
            *HEADGATE, "lora-syncer", "--metrics-port", "0",
            env={**os.environ, "DYNAMIC_LORA_ROLLOUT_CONFIG": str(path)}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        syncer = Syncer(process)
        reader = asyncio.create_task(syncer.read())
        await syncer.says(f"{path}: No such file or directory")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(3):
            assert await process.wait() == 0
        await reader

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--reconcile-trigger", "0"], "'0' is not a number of seconds above 0"),
        (["--health-check-timeout", "soon"], "'soon' is not a number of seconds above 0"),
        (["--health-check-interval", "nan"], "'nan' is not a number of seconds above 0"),
        (["--metrics-port", "70000"], "'70000' is not a port number"),
        (["--confg", "x"], "--confg"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_status_2(flags, said, capsys):
    assert main(flags) == 2
    assert said in capsys.readouterr().err


def test_help_shows_the_file_and_the_environment(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in (
        "vLLMLoRAConfig:",
        "ensureNotExist:",
        "HEADGATE_POD_ADDRESS",
        "DYNAMIC_LORA_ROLLOUT_CONFIG",
        "default: 300",
    ):
        assert word in text


def test_it_starts_with_few_imports():
    code = "import sys, headgate.runtime.syncer; print(*(name for name in sys.modules if name.startswith('headgate.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name.split(".")[1] for name in loaded} == {"api", "lora", "runtime"}, loaded
