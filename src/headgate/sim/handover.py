"""`kv_transfer_params`: where the KV cache of a prompt is, as one server tells it to another.

Who prefills is asked with `do_remote_decode` and answers with the rest; who decodes is asked with that answer. Source:
NixlPullConnectorScheduler in vllm/distributed/kv_transfer/kv_connector/v1/nixl/pull_scheduler.py of 0.32.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from headgate.sim.refusals import Refusal, openai

PREFILLER = "x-prefiller-host-port"
CONNECTORS = ("NixlConnector",)
_NAMED = ("remote_host", "remote_port", "remote_engine_id", "remote_request_id")

# What vLLM answers where KV cache could not be pulled (kv_load_failure_policy: fail).
LOST = openai(Refusal(500, "InternalServerError", "Internal server error"))


class Connector(Struct, frozen=True):
    """A server that hands KV cache over: `--kv-transfer-config`, and VLLM_NIXL_SIDE_CHANNEL_HOST and _PORT. `lease` is
    how many seconds blocks are kept that nobody has begun to pull. `recompute`: what is not there any more is computed
    anew; otherwise the request fails.
    """

    engine: str
    host: str = "localhost"
    port: int = 5600
    lease: float = 30.0
    recompute: bool = False


class Source(Struct, frozen=True, gc=False):
    """Where a request's blocks are, and what it was called there."""

    host: str
    port: int
    engine: str
    request: str


def keeps(params: Mapping[str, Any] | None) -> bool:
    """Whether another server will decode what is prefilled here."""
    return bool(params and params.get("do_remote_decode"))


def source(params: Mapping[str, Any] | None) -> Source | None:
    """Where to pull from; None where there is nothing to pull, or where it is not said."""
    if not params or not params.get("do_remote_prefill") or not params.get("remote_block_ids"):
        return None
    if not all(params.get(name) for name in _NAMED):
        return None
    host, port, engine, request = (params[name] for name in _NAMED)
    named = isinstance(host, str) and isinstance(engine, str) and isinstance(request, str)
    return Source(host, port, engine, request) if named and isinstance(port, int) and 0 < port < 65536 else None


def told(at: Connector, request: str, blocks: Sequence[int], tokens: int, cached: int) -> dict[str, Any]:
    """Of a request that was prefilled here: `blocks` of its `tokens` are kept, of which `cached` were not computed."""
    return {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_block_ids": [[block + 1 for block in blocks]],  # vLLM's first block is none
        "remote_engine_id": at.engine,
        "remote_request_id": request,
        "remote_host": at.host,
        "remote_port": at.port,
        "tp_size": 1,
        "dcp_size": 1,
        "pp_size": 1,
        "remote_num_tokens": tokens,
        "remote_blocks_expiry_time": None,
        "transfer_mode": "pull",
        "remote_prefill_cached_tokens": cached,
    }


# What a routing sidecar makes of one request: two (llm-d's connector nixlv2).

_TO_PREFILL = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}


def to_prefill(content: Mapping[str, Any], chat: bool) -> dict[str, Any]:
    """The body for the server that prefills: one token, whole."""
    kept = {name: value for name, value in content.items() if name not in ("stream_options", "max_completion_tokens")}
    kept |= {"stream": False, "max_tokens": 1, "kv_transfer_params": _TO_PREFILL}
    return kept | {"max_completion_tokens": 1} if chat else kept


def to_decode(content: Mapping[str, Any], params: Any) -> dict[str, Any]:
    """The body for the server that decodes, with what the other one answered."""
    return {**content, "kv_transfer_params": params}
