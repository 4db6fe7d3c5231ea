"""`headgate lora-syncer`: the sidecar that keeps a vLLM server's LoRA adapters as a file says.

A drop-in for the inference extension's lora-syncer image (GIE v1.4.0, tools/dynamic-lora-sidecar): the same file,
flags, environment and metric.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headgate.api.meta import Problem
from headgate.lora.config import Desired, read
from headgate.runtime.client import Answer, Client
from headgate.runtime.reconcile import Reconciler, Timing
from headgate.runtime.server import Request, serve

_log = logging.getLogger("headgate.lora-syncer")

_LOOK_S = 0.5  # how often the file is looked at; a stat costs microseconds, and works on every kind of volume

_DESCRIPTION = """\
Keeps the LoRA adapters of one vLLM server as a file says: loads what is in ensureExist, unloads what is in
ensureNotExist, leaves every other adapter alone. Follows changes of the file and restarts of the server."""

_EPILOG = """\
the file:
  vLLMLoRAConfig:
    host: localhost                # default
    port: 8000                     # default
    defaultBaseModel: meta-llama/Llama-3.1-8B-Instruct
    ensureExist:
      models:
      - id: food-review            # the model name that requests ask for
        source: Kawon/llama3.1-food-finetune_v14_r8
        base-model: …              # in place of defaultBaseModel
    ensureNotExist:
      models:
      - id: old-adapter

environment:
  DYNAMIC_LORA_ROLLOUT_CONFIG      the file, when --config is not given
  HEADGATE_POD_ADDRESS             the Pod's address: used in place of `localhost`, and for the metrics port
  HEADGATE_POD_PORTS               where that address is not the Pod's alone: the ports that stand for its own,
                                   such as 8000=20001,8080=20002

The server must run with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=true."""


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT. The exit status: 0, or 2 for arguments that can't be understood."""
    try:
        options = _parser(os.environ).parse_args(argv)
    except SystemExit as done:  # argparse has said all there is to say
        return int(done.code or 0)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        ports = _ports(os.environ.get("HEADGATE_POD_PORTS", ""))
    except argparse.ArgumentTypeError as error:
        _log.error("HEADGATE_POD_PORTS: %s; write such as 8000=20001,8080=20002", error)
        return 2
    asyncio.run(_run(options, os.environ.get("HEADGATE_POD_ADDRESS", ""), ports))
    return 0


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headgate lora-syncer",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    config = environment.get("DYNAMIC_LORA_ROLLOUT_CONFIG") or "/config/configmap.yaml"
    add = parser.add_argument
    add("--config", metavar="FILE", default=config, help=f"what to keep, see below (default: {config})")
    add(
        "--config-validation",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="refuse a file with mistakes and keep to the last good one (default); with --no-config-validation "
        "use what can be read of it",
    )
    for flag, default, text in (
        ("--health-check-timeout", 300.0, "complain when the server is not healthy after S seconds"),
        ("--health-check-interval", 2.0, "look for the server's health every S seconds, more often at first"),
        ("--reconcile-trigger", 5.0, "compare the file with the server every S seconds"),
    ):
        add(flag, type=_positive, metavar="S", default=default, help=f"{text} (default: {default:g})")
    add(
        "--metrics-port",
        type=_port,
        metavar="PORT",
        default=8080,
        help="serve lora_syncer_adapter_status at /metrics on this port (default: 8080; 0: any free one)",
    )
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return value


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port number from 0 to 65535")
    return int(text)


def _ports(listing: str) -> dict[int, int]:
    """`8000=20001,8080=20002` → {8000: 20001, 8080: 20002}."""
    pairs = (pair.partition("=") for pair in listing.split(",") if pair)
    return {_port(written): _port(local) for written, _, local in pairs}


async def _run(options: argparse.Namespace, pod_address: str, pod_ports: Mapping[int, int]) -> None:
    client = Client()

    async def ask(method: str, host: str, port: int, path: str, body: bytes, seconds: float) -> Answer:
        headers = [("content-type", "application/json")] if body else []
        return await client.fetch(method, host, port, path, headers=headers, body=body, timeout=seconds)

    reconciler = Reconciler(
        ask, Timing(options.health_check_timeout, options.health_check_interval, options.reconcile_trigger)
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = None
    try:
        server = await serve(
            lambda request: _page(request, reconciler.status),
            host=pod_address or None,
            port=pod_ports.get(options.metrics_port, options.metrics_port),
        )
        _log.info("metrics at http://%s:%d/metrics", pod_address or "localhost", server.port)
    except OSError as error:
        # The adapters matter more than the metric about them.
        _log.error("no metrics: port %d can't be had: %s; see --metrics-port", options.metrics_port, error.strerror)
    source = ConfigFile(options.config, options.config_validation, pod_address, pod_ports)
    work: list[asyncio.Task[Any]] = [
        asyncio.create_task(reconciler.run()),
        asyncio.create_task(_follow(source, reconciler)),
    ]
    stopped: asyncio.Task[Any] = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopped, *work], return_when=asyncio.FIRST_COMPLETED)
        for task in work:
            if task.done():
                task.result()  # neither ends by itself: this raises what was wrong with us
    finally:
        for task in (stopped, *work):
            task.cancel()
        await asyncio.gather(stopped, *work, return_exceptions=True)
        client.close()
        if server is not None:
            await server.close(grace=0.2)


async def _follow(source: "ConfigFile", reconciler: Reconciler) -> None:
    while True:
        desired = source.poll()
        if desired is not None:
            reconciler.want(desired)
        await asyncio.sleep(_LOOK_S)


class ConfigFile:
    """The configuration's file, followed by its status: also through the symlinks that a ConfigMap volume swaps."""

    def __init__(
        self, path: str, strict: bool = True, pod_address: str = "", pod_ports: Mapping[int, int] | None = None
    ) -> None:
        self._path = path
        self._strict = strict
        self._pod_address = pod_address
        self._pod_ports = pod_ports or {}
        self._seen: tuple[int, ...] | None = None
        self._excuse = ""
        self._last: Desired | None = None

    def poll(self) -> Desired | None:
        """What the file asks for when it changed since the last call, else None."""
        try:
            status = os.stat(self._path)
            seen = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return None
            with open(self._path, "rb") as file:
                text = file.read()
        except OSError as error:
            self._seen = None
            excuse = f"{self._path}: {error.strerror}; " + (
                "waiting for it" if self._last is None else "keeping to what it said before"
            )
            if excuse != self._excuse:
                self._excuse = excuse
                _log.warning("%s", excuse)
            return None
        self._seen, self._excuse = seen, ""
        return self._take(text)

    def _take(self, text: bytes) -> Desired | None:
        desired, problems = read(text, self._path)
        refused = desired is None or (self._strict and any(problem.severity == "error" for problem in problems))
        for problem in problems:
            _log.log(_level(problem), "%s", problem)
        if desired is None or refused:
            then = "waiting for a sound one" if self._last is None else "keeping to the last good one"
            _log.error("%s is not used: %s", self._path, then)
            return None
        if self._pod_address and desired.host in ("localhost", "127.0.0.1"):
            port = self._pod_ports.get(desired.port, desired.port)
            desired = msgspec.structs.replace(desired, host=self._pod_address, port=port)
        if desired == self._last:
            return None
        self._last = desired
        _log.info("%s: %d to load, %d to unload", self._path, len(desired.exist), len(desired.absent))
        return desired


def _level(problem: Problem) -> int:
    return logging.ERROR if problem.severity == "error" else logging.WARNING


def _page(request: Request, status: Mapping[str, bool]) -> Answer:
    """The metrics page, in Prometheus' text format 0.0.4."""
    if request.path != "/metrics":
        return Answer(404, (("content-type", "text/plain; charset=utf-8"),), b"the metrics are at /metrics\n")
    lines = [
        "# HELP lora_syncer_adapter_status Status of LoRA adapters (1=loaded, 0=not_loaded)",
        "# TYPE lora_syncer_adapter_status gauge",
        *(
            f'lora_syncer_adapter_status{{adapter_name="{_escape(name)}"}} {on:d}'
            for name, on in sorted(status.items())
        ),
    ]
    content_type = "text/plain; version=0.0.4; charset=utf-8"
    return Answer(200, (("content-type", content_type),), ("\n".join(lines) + "\n").encode())


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
