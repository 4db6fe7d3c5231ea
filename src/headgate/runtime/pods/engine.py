"""What runs vLLM here: the real one or the simulator, and the small programs that stand for `vllm` in a shell line."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Literal

from headgate.runtime.pods.devices import find_devices
from headgate.runtime.pods.programs import Engine, ours

_SERVER = "vllm.entrypoints.openai.api_server"
_INSTALLERS = ("pip", "pip3", "uv", "apt", "apt-get", "huggingface-cli", "hf")


def find_engine(
    wanted: Literal["sim", "vllm", "auto"], python: str, vllm_python: str = "", speed: float | None = None
) -> Engine:
    """The engine for every vLLM container: `auto` is the real one where it is importable and a GPU is there."""
    vllm_python = vllm_python or os.environ.get("HEADGATE_VLLM_PYTHON", "") or python
    real = Engine("vllm", (vllm_python, "-m", _SERVER))
    if wanted == "vllm":
        if _has_vllm(vllm_python):
            return real
        problem = f"no module `vllm` in {vllm_python}: install vllm there, or set HEADGATE_VLLM_PYTHON"
        return Engine("vllm", real.command, problem=problem)
    why = ""
    if wanted == "auto":
        if not find_devices(os.environ):
            why = "there is no GPU here"
        elif not _has_vllm(vllm_python):
            why = f"vLLM is not installed for {vllm_python}"
        else:
            return real
    pace = () if speed is None else ("--speed", f"{speed:g}")
    return Engine("sim", (*ours(python), "sim", *pace), why)


def write_shims(directory: Path, engine: Engine, python: str) -> tuple[Path, ...]:
    """Write `vllm`, `python` and `python3` that send vLLM to the engine and everything else to the real program.

    They come first on the PATH of shell lines. What would install software or fetch weights does nothing there: the
    machine is the user's, and an image's build steps have no business in it. Returns the paths of what was written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # The last of two ports counts, so this one gives way to the line's own.
    port = '${HEADGATE_ENGINE_PORT:+--port "$HEADGATE_ENGINE_PORT"}'
    run = f'exec {shlex.join(engine.command)} {port} "$@" --host "$HEADGATE_POD_ADDRESS"'
    real = shlex.quote(python if engine.kind == "sim" else engine.command[0])
    for name in ("python", "python3"):
        _script(
            directory / name,
            f"""n=0
for word in "$@"; do
  n=$((n + 1))
  case "$word" in
    vllm.entrypoints.*api_server) shift $n; {run} ;;
    -*) ;;
    *) break ;;
  esac
done
exec {real} "$@"
""",
        )
    _script(
        directory / "vllm",
        f"""if [ "$1" = serve ]; then
  shift
  case "$1" in
    -*|"") ;;
    *) model=$1; shift; set -- --model "$model" "$@" ;;
  esac
  {run}
fi
echo "vllm $1: only 'vllm serve' runs here" >&2
exit 2
""",
    )
    for name in _INSTALLERS:
        _script(directory / name, f'echo "headgate: {name} $*: not done on this machine" >&2\n')
    return tuple(directory / name for name in ("vllm", "python", "python3", *_INSTALLERS))


def _script(path: Path, body: str) -> None:
    path.write_text("#!/bin/sh\n" + body, encoding="utf-8")
    path.chmod(0o755)


def _has_vllm(python: str) -> bool:
    ask = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    try:
        return subprocess.run([python, "-c", ask], check=False, capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
