"""How a picker reads KV events: parameters of precise-prefix-cache-producer, and of the scorer that brings its own."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from headgate.api.meta import Port

Count = Annotated[int, msgspec.Meta(ge=0)]


class TokenProcessor(Struct, frozen=True, rename="camel", omit_defaults=True):
    """How another picker names blocks. Here the server says how large they are."""

    block_size: Count = 0
    block_size_tokens: Count = 0
    hash_seed: str = ""
    hash_algorithm: Literal["", "cbor-fnv", "xxh64"] = ""


class PodDiscovery(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`replay_socket_port` 0: there is none. Which Pods there are, the pool's selector says."""

    socket_port: Port = 5557
    replay_socket_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    pod_label_selector: str = ""
    pod_namespace: str = ""


class KvEvents(Struct, frozen=True, rename="camel", omit_defaults=True):
    topic_filter: str = "kv@"
    engine_type: Literal["vllm", "sglang"] = "vllm"
    concurrency: Count = 4
    discover_pods: bool = True
    pod_discovery_config: PodDiscovery = PodDiscovery()
    zmq_endpoint: str = ""


class Precise(Struct, frozen=True, rename="camel", omit_defaults=True):
    """By KV events. Of `indexer_config` and what else is about another picker's index nothing has an effect."""

    token_processor_config: TokenProcessor = TokenProcessor()
    indexer_config: Any = None
    kv_events_config: KvEvents = KvEvents()
    speculative_indexing: bool = False
    speculative_ttl: str = msgspec.field(default="", name="speculativeTTL")
