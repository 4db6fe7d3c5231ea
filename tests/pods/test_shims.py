"""Shell lines that start vLLM: where `vllm`, `python` and the installers of an image lead to here."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from headgate.runtime.pods.engine import find_engine, write_shims
from headgate.runtime.pods.programs import Engine


def line(directory: Path, text: str, **variables: str) -> str:
    """What a shell line prints when the engine only says its arguments."""
    write_shims(directory, Engine("sim", ("/bin/echo", "engine")), sys.executable)
    env = {"PATH": f"{directory}{os.pathsep}{os.defpath}", "HEADGATE_POD_ADDRESS": "127.77.0.9", **variables}
    done = subprocess.run(["sh", "-c", text], env=env, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("vllm serve m --port 8000", "--model m --port 8000"),
        ("exec vllm serve --model 'my model'", "--model my model"),
        ("cd / && vllm serve", ""),
        ("python3 -m vllm.entrypoints.openai.api_server --model m", "--model m"),
        ("python -u -m vllm.entrypoints.openai.api_server --model m", "--model m"),
        ("pip install vllm && apt-get update && vllm serve m", "--model m"),
    ],
)
def test_vllm_in_a_shell_line_is_the_engine_on_the_pods_address(tmp_path, text, flags):
    assert line(tmp_path, text) == f"engine {flags} --host 127.77.0.9".replace("  ", " ")


@pytest.mark.parametrize("start", ["vllm serve", "python3 -m vllm.entrypoints.openai.api_server"])
def test_a_line_without_a_port_has_the_one_that_stands_for_vllms_own(tmp_path, start):
    moved = {"HEADGATE_ENGINE_PORT": "20001"}
    assert line(tmp_path, f"{start} --x", **moved) == "engine --port 20001 --x --host 127.77.0.9"
    assert line(tmp_path, f"{start} --port 20002", **moved).endswith("--port 20002 --host 127.77.0.9")


def test_python_is_still_python(tmp_path):
    assert line(tmp_path, "python -c 'import sys; print(*sys.argv)' a vllm.entrypoints.openai.api_server") == (
        "-c a vllm.entrypoints.openai.api_server"
    )
    script = tmp_path / "x.py"
    script.write_text("import sys; print(sys.argv[1:])")
    assert line(tmp_path, f"python3 {shlex.quote(str(script))} 'a b'") == "['a b']"


def test_the_engine_is_the_simulator_unless_vllm_is_there():
    assert find_engine("sim", "py").command == ("py", "-P", "-m", "headgate", "sim")
    assert find_engine("sim", "py", speed=0.0).command[-2:] == ("--speed", "0")
    engine = find_engine("vllm", sys.executable, "/no/such/python")
    assert engine.kind == "vllm"
    assert "HEADGATE_VLLM_PYTHON" in engine.problem
