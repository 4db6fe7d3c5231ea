"""A vLLM server and a simulator with the same flags, asked the same."""

from pathlib import Path
from typing import Any

import corpus
from simulators import Running
from vllm_server import Vllm
from wire_shape import differences


class Pair:
    """Both servers, and their answers to the corpus."""

    def __init__(self, vllm: Vllm, simulator: Running, models: Path) -> None:
        self.vllm = vllm
        self.simulator = simulator
        self.models = models
        self.theirs = corpus.ask_all(vllm.host, vllm.port, models)
        self.ours = corpus.ask_all(simulator.host, simulator.port, models)

    def again(self, case: dict[str, Any]) -> list[str]:
        theirs = corpus.ask(self.vllm.host, self.vllm.port, case, self.models)
        return differences(theirs, corpus.ask(self.simulator.host, self.simulator.port, case, self.models))
