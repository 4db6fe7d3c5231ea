"""The flags of `headgate sim`: vLLM's, as far as they change what a client sees, and a few of its own."""

import argparse
import os
import uuid
from typing import Any, Literal

import msgspec

from headgate.runtime.cards import LIMITS, read_card
from headgate.sim.cost import Cost
from headgate.sim.engine import Config
from headgate.sim.handover import CONNECTORS, Connector
from headgate.sim.kv_events import KvEventsConfig
from headgate.sim.service import Settings

_EPILOG = """\
examples:
  headgate sim --model meta-llama/Llama-3.1-8B-Instruct --port 8000
  headgate sim --model llama --enable-lora --lora-modules food-review=org/food-review --speed 10
  headgate sim --fit access.log --max-num-seqs 128 > card.json
  headgate sim --card card.json --port 8000
  VLLM_ALLOW_RUNTIME_LORA_UPDATING=true headgate sim --model llama --enable-lora --speed 0

It answers what vLLM 0.32 answers, with text that it makes up. Flags are vLLM's; those that do not change what a client
sees are accepted and named in one warning. --speed 1 takes the time that an 8B model takes on one NVIDIA L4.
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "headgate sim",
        description="Simulate a vLLM server: its API, its batching, its KV cache, its adapters, its metrics.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("model_tag", nargs="?", metavar="MODEL", help="the same as --model, as `vllm serve MODEL` has it")
    add("--model", default="", help="name or path of the base model (default: headgate/simulated-8b)")
    add("--served-model-name", nargs="+", default=[], metavar="NAME", help="names to serve the base model by")
    add("--host", default="", help="address to listen on (default: every one)")
    add("--port", type=int, default=8000, help="port to listen on, 0 for any free one (default: %(default)s)")
    add("--uds", default="", metavar="PATH", help="listen on this unix socket instead")
    add("--speed", type=float, default=1.0, metavar="F",
        help="F times as fast as the card; 0: no waiting at all (default: %(default)g)")  # fmt: skip
    add("--startup-delay", type=float, default=0.0, metavar="S",
        help="seconds before it listens, as a server takes to load a model (default: %(default)g)")  # fmt: skip
    costs = made.add_argument_group("what a step costs")
    costs.add_argument("--card", default="", metavar="FILE",
                       help="constants and limits of a server, as --fit writes them; flags count more")  # fmt: skip
    costs.add_argument("--fit", default="", metavar="LOG",
                       help="print the card of the servers that answered the streams in this access log of "
                            "`headgate gateway`, whose limits are those of the flags; serve nothing")  # fmt: skip
    batching = made.add_argument_group("batching and KV cache")
    batching.add_argument(
        "--max-model-len", type=int, default=32768, metavar="N", help="context in tokens (%(default)s)"
    )
    batching.add_argument("--max-num-seqs", type=int, default=256, metavar="N", help="sequences per step (%(default)s)")
    batching.add_argument("--max-num-batched-tokens", type=int, default=2048, metavar="N",
                          help="tokens per step (%(default)s)")  # fmt: skip
    batching.add_argument("--block-size", type=int, default=16, metavar="N", help="tokens per KV block (%(default)s)")
    batching.add_argument("--num-gpu-blocks-override", type=int, default=0, metavar="N", help="KV blocks")
    batching.add_argument("--gpu-memory-utilization", type=float, default=0.92, metavar="F",
                          help="share of the memory; it decides the number of KV blocks (%(default)s)")  # fmt: skip
    batching.add_argument("--tensor-parallel-size", "-tp", type=int, default=1, metavar="N", help="cards (%(default)s)")
    batching.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction, default=True)
    batching.add_argument("--kv-events-config", default="{}", metavar="JSON",
                          help='publish KV cache events by ZeroMQ: {"enable_kv_cache_events": true, '
                               '"topic": "kv@pod@model", "endpoint": "tcp://*:5557"}')  # fmt: skip
    batching.add_argument("--kv-transfer-config", default="{}", metavar="JSON",
                          help='prefill for other servers, decode for them: {"kv_connector": "NixlConnector", '
                               '"kv_role": "kv_both"}; they ask at VLLM_NIXL_SIDE_CHANNEL_HOST and _PORT')  # fmt: skip
    lora = made.add_argument_group("LoRA (the calls that load and unload: VLLM_ALLOW_RUNTIME_LORA_UPDATING=true)")
    lora.add_argument("--enable-lora", action="store_true", help="serve adapters (implied by --lora-modules)")
    lora.add_argument("--max-loras", type=int, default=1, metavar="N", help="adapters per step (%(default)s)")
    lora.add_argument("--max-cpu-loras", type=int, default=0, metavar="N", help="adapters in memory (--max-loras)")
    lora.add_argument("--lora-modules", nargs="+", default=[], metavar="NAME=PATH",
                      help='adapters from the start; or {"name": …, "path": …, "base_model_name": …}, '
                           "of which only the name is needed")  # fmt: skip
    return made


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags, and what changes nothing here. Raises Unusable for a card that is none."""
    made = parser()
    flags, unknown = made.parse_known_args(argv)
    flags.cost = Cost()
    if flags.card:
        card = read_card(flags.card)
        limits = {name: getattr(card, name) for name in LIMITS if name != "num_blocks"}
        made.set_defaults(num_gpu_blocks_override=card.num_blocks, **limits)
        flags, unknown = made.parse_known_args(argv)
        flags.cost = card.cost
    return flags, unknown


def settings(flags: argparse.Namespace) -> Settings | str:
    """What the flags ask for, or what is wrong with them."""
    root = flags.model or flags.model_tag or "headgate/simulated-8b"
    for name in ("max_model_len", "max_num_seqs", "max_num_batched_tokens", "block_size", "max_loras",
                 "tensor_parallel_size"):  # fmt: skip
        if getattr(flags, name) < 1:
            return f"--{name.replace('_', '-')} must be at least 1, got {getattr(flags, name)}"
    if flags.speed < 0:
        return f"--speed must be 0 (no waiting) or more, got {flags.speed:g}"
    adapters = []
    for text in flags.lora_modules:
        adapter = _adapter(text)
        if adapter is None:
            return f"--lora-modules: {text!r} is neither NAME=PATH nor a JSON object with a name"
        adapters.append(adapter)
    events = _events(flags.kv_events_config)
    if isinstance(events, str):
        return f"--kv-events-config: {events}"
    connector = _connector(flags.kv_transfer_config, flags.host)
    if isinstance(connector, str):
        return f"--kv-transfer-config: {connector}"
    config = Config(
        block_size=flags.block_size,
        num_blocks=_blocks(flags),
        max_num_seqs=flags.max_num_seqs,
        max_num_batched_tokens=flags.max_num_batched_tokens,
        max_model_len=flags.max_model_len,
        prefix_caching=flags.enable_prefix_caching,
        max_loras=flags.max_loras,
        max_cpu_loras=flags.max_cpu_loras or flags.max_loras,
        cost=flags.cost.at_speed(flags.speed * flags.tensor_parallel_size),
    )
    updating = os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "0").strip().lower() in ("1", "true")
    names = tuple(flags.served_model_name) or (root,)
    # vLLM wants --enable-lora, but the Inference Extension's sim-deployment.yaml names its adapters without it.
    lora = flags.enable_lora or bool(adapters)
    developed = os.environ.get("VLLM_SERVER_DEV_MODE", "0").strip() == "1"
    return Settings(names, root, config, lora, updating, tuple(adapters), not flags.speed, events, developed, connector)


def _blocks(flags: argparse.Namespace) -> int:
    """KV blocks of an 8B model on cards of 24 GB: what is left beside 16 GB of weights and 1.5 GB to work with."""
    if flags.num_gpu_blocks_override > 0:
        blocks = int(flags.num_gpu_blocks_override)
    else:
        left = (24e9 * flags.gpu_memory_utilization - 1.5e9) * flags.tensor_parallel_size - 16e9
        blocks = int(left / 131072 / flags.block_size)
    # vLLM refuses to start when one sequence of full length does not fit; here there is memory enough for one.
    least = -(-int(flags.max_model_len) // int(flags.block_size)) + 1
    return max(blocks, least)


def _events(text: str) -> KvEventsConfig | str:
    """What the flag says, or what is wrong with it."""
    try:
        found = msgspec.json.decode(text, type=KvEventsConfig)
    except msgspec.DecodeError as error:
        return str(error)
    if found.publisher not in (None, "null", "zmq"):
        return f'publisher "{found.publisher}" is neither: write "zmq" or "null"'
    for name, place in (("endpoint", found.endpoint), ("replay_endpoint", found.replay_endpoint)):
        if place is not None and not place.startswith(("tcp://", "ipc://", "inproc://")):
            return f'{name} "{place}" is no place for ZeroMQ: write one like "tcp://*:5557"'
    return found


class _Transfer(msgspec.Struct, frozen=True):
    """vLLM's KVTransferConfig, as far as it matters here."""

    kv_connector: str | None = None
    engine_id: str | None = None
    kv_load_failure_policy: Literal["fail", "recompute"] = "fail"
    kv_connector_extra_config: dict[str, Any] = {}

    def hands_over(self) -> bool:
        """Whether KV cache goes from server to server, be it beside other connectors."""
        among = self.kv_connector_extra_config.get("connectors")
        parts = (
            [part.get("kv_connector") for part in among if isinstance(part, dict)] if isinstance(among, list) else []
        )
        return any(name in CONNECTORS for name in (self.kv_connector, *parts))


def _connector(text: str, host: str) -> Connector | str | None:
    """What the flag says, with the environment; or what is wrong with them. None where nothing is handed over."""
    try:
        found = msgspec.json.decode(text, type=_Transfer)
    except msgspec.DecodeError as error:
        return str(error)
    if not found.hands_over():
        return None
    lease = found.kv_connector_extra_config.get("kv_lease_duration", Connector("").lease)
    port = os.environ.get("VLLM_NIXL_SIDE_CHANNEL_PORT", "") or str(Connector("").port)
    if not isinstance(lease, int | float) or lease <= 0:
        return f"kv_lease_duration must be above 0 seconds, got {lease!r}"
    if not port.isdecimal() or int(port) > 65535:
        return f"VLLM_NIXL_SIDE_CHANNEL_PORT is no port: {port!r}"
    return Connector(
        engine=found.engine_id or str(uuid.uuid4()),
        host=os.environ.get("VLLM_NIXL_SIDE_CHANNEL_HOST", "") or host or Connector("").host,
        port=int(port),
        lease=float(lease),
        recompute=found.kv_load_failure_policy == "recompute",
    )


class _Module(msgspec.Struct, frozen=True):
    """An adapter in JSON, as --lora-modules has it. Without a path, the name stands for it."""

    name: str
    path: str | None = None
    base_model_name: str | None = None


def _adapter(text: str) -> tuple[str, str, str] | None:
    if text.startswith("{"):
        try:
            module = msgspec.json.decode(text, type=_Module)
        except msgspec.DecodeError:
            return None
        return (module.name, module.path or module.name, module.base_model_name or "") if module.name else None
    name, _, path = text.partition("=")
    return (name, path, "") if name and path else None
