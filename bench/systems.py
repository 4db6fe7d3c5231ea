"""The systems under test: one entry each in SYSTEMS. Its function writes the configuration and says how to start it."""

import sys
from collections.abc import Callable

from msgspec import Struct

from bench.launch import Launch, Place
from bench.peers import envoy, litellm, portkey, router
from bench.processors import behind_envoy
from bench.subject import headgate, two_workers


class System(Struct, frozen=True):
    """`group`: headgate, cache-aware (peers that choose by prefix), plain (peers that do not), ext-proc
    (headgate's picker behind Envoy: measured in the cases of that group alone), or yardstick."""

    launch: Callable[[Place], Launch]
    group: str
    peer: str = ""  # what bench/install.py installs for it


def _floor(place: Place) -> Launch:
    argv = (sys.executable, "-m", "bench.floor", str(place.port), *place.backend.endpoints)
    return Launch(argv, "bare uvloop + httptools proxy")


def _direct(place: Place) -> Launch:
    return Launch((), "no proxy at all: the load asks one endpoint itself")


SYSTEMS: dict[str, System] = {
    "headgate": System(headgate, "headgate"),
    "headgate-2-workers": System(two_workers, "headgate"),
    "smg": System(router("smg", "cache_aware"), "cache-aware", "smg"),
    "vllm-router": System(router("vllm-router", "cache_aware"), "cache-aware", "vllm-router"),
    "sglang-router": System(router("sglang-router", "cache_aware"), "cache-aware", "sglang-router"),
    "smg-round-robin": System(router("smg", "round_robin"), "plain", "smg"),
    "vllm-router-round-robin": System(router("vllm-router", "round_robin"), "plain", "vllm-router"),
    "sglang-router-round-robin": System(router("sglang-router", "round_robin"), "plain", "sglang-router"),
    "envoy": System(envoy, "plain", "envoy"),
    "portkey": System(portkey, "plain", "portkey"),
    "litellm": System(litellm, "plain", "litellm"),
    "headgate-epp": System(behind_envoy("FULL_DUPLEX_STREAMED", "FULL_DUPLEX_STREAMED"), "ext-proc", "envoy"),
    "headgate-epp-buffered": System(behind_envoy("BUFFERED", "NONE"), "ext-proc", "envoy"),
    "floor": System(_floor, "yardstick"),
    "direct": System(_direct, "yardstick"),
}
