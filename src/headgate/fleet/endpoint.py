"""An endpoint is one `address:port` of a pool; a load is what it last reported."""

from collections.abc import Mapping

from msgspec import Struct

BYTES_PER_TOKEN = 4  # as the field's pickers reckon where nobody counts tokens


class Endpoint(Struct, frozen=True):
    """`name` is `namespace/pod-rank-N`, N counting the pool's ports (one for each data-parallel rank)."""

    name: str
    address: str  # IPv4, IPv6 without brackets, or a host name
    port: int
    labels: Mapping[str, str] = {}
    ready: bool = True
    draining: bool = False
    engine: str = "vllm"  # whose metric names it speaks: vllm, sglang, trtllm-serve, triton-tensorrt-llm, triton
    ray: bool = False  # Ray Serve: wants the model in the header serve_multiplexed_model_id
    mapped: Mapping[int, int] = {}  # the server's
    tls: str = ""  # the name of what it must show by TLS, "" where it speaks plain HTTP
    kv_events: str | None = None  # "" where its prefixes go by them, why where not; None: nobody reads them
    ejected: bool = False  # it has failed again and again: only where nobody else is left

    @property
    def hostport(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Served(Struct, frozen=True):
    """One entry of an endpoint's /v1/models."""

    id: str
    parent: str | None = None  # the base model, where this is an adapter
    root: str | None = None
    max_model_len: int | None = None


class Load(Struct, frozen=True):
    """One endpoint's answers to `GET /metrics` and `GET /v1/models`.

    Gauges are None where the page has no such metric; `models` is None until the list was read once. `at` is when
    (seconds, the caller's clock) the metrics were read, None when they never were.
    """

    waiting: int | None = None
    running: int | None = None
    kv_usage: float | None = None  # 0..1
    adapters_running: frozenset[str] = frozenset()
    adapters_waiting: frozenset[str] = frozenset()
    max_adapters: int | None = None
    block_size: int | None = None  # tokens per KV block
    blocks: int | None = None
    models: tuple[Served, ...] | None = None
    at: float | None = None

    @property
    def capacity(self) -> int | None:
        """Bytes of prompts that its KV cache holds; None where it does not say how large that is."""
        if self.blocks is None or self.block_size is None:
            return None
        return self.blocks * self.block_size * BYTES_PER_TOKEN


class Server(Struct, frozen=True):
    """A Pod that runs, as far as pools care: where it is, what it is labelled, which ports it calls by name."""

    namespace: str
    name: str
    address: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = {}
    ports: Mapping[str, int] = {}  # by name
    port: int | None = None  # the only port there is, where the address was given with one
    mapped: Mapping[int, int] = {}  # declared port → the one it is at, for those that are not the same
    ready: bool = False
    draining: bool = False
