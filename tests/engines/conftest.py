"""Real engines: vLLM on the CPU, with a tiny model and adapters made here. `make test-engines` runs these tests.

For tests: `models` (a directory with base, food-review and travel-notes), and `start_vllm(*flags)`, which starts a
server on a loopback address of its own and returns at once; `server.ready()` waits until it answers.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from vllm_server import Vllm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "sim"))  # the corpus and the comparison are shared with the recorded test
sys.path.insert(0, str(HERE.parent / "system"))  # a real `headgate up`

VENV = os.environ.get("HEADGATE_ENGINES_VENV", "")
if not VENV:
    collect_ignore_glob = ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not VENV:
        terminalreporter.write_line("tests/engines needs a real vLLM and was left out: `make test-engines` runs it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def engine_python() -> Path:
    """The interpreter that has vLLM."""
    return Path(VENV) / "bin" / "python"


@pytest.fixture(scope="session")
def models(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tiny model `base` and its adapters `food-review` and `travel-notes`."""
    target = tmp_path_factory.mktemp("models")
    subprocess.run(
        [engine_python, HERE / "build_model.py", target],
        check=True,
        capture_output=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    return target


@pytest.fixture(scope="session")
def start_vllm(
    engine_python: Path, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Vllm]]:
    """A function that starts a server: 3 GB of memory and some 25 s until it is ready, so share them where you can.

    `start_vllm(*flags, port=8000, environment={})`; --host, --port and what makes vLLM run on a CPU are given. The
    model is yours to name: `--model`, str(models / "base").
    """
    started: list[Vllm] = []
    logs = tmp_path_factory.mktemp("logs")
    usual = {
        **os.environ,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }

    def start(*flags: str, port: int = 8000, environment: Mapping[str, str] | None = None) -> Vllm:
        host = f"127.88.0.{len(started) + 1}"
        log = logs / f"{host}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [
                    engine_python, "-m", "vllm.entrypoints.openai.api_server",
                    "--host", host, "--port", str(port), "--enforce-eager", "--dtype", "float32", *flags,
                ],
                stdout=sink, stderr=subprocess.STDOUT, env=usual | dict(environment or {}), cwd=logs,
                start_new_session=True,
            )  # fmt: skip
        started.append(Vllm(process, host, port, log))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def pair(start_vllm: Callable[..., Vllm], models: Path) -> Iterator[Any]:
    """A vLLM server and a simulator, asked the corpus; RECORD=1 writes vLLM's answers to tests/sim/recorded."""
    import corpus  # of tests/sim, where the path above leads
    from pair import Pair
    from simulators import running

    vllm = start_vllm(*corpus.flags(models), port=8100).ready()
    with running(*corpus.flags(models), "--speed", "0", environment=corpus.ENVIRONMENT) as simulator:
        made = Pair(vllm, simulator, models)
        if os.environ.get("RECORD"):
            corpus.write_answers(made.theirs, models)
        yield made
    vllm.stop()
