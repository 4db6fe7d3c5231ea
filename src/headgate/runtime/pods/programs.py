"""Which program stands in for a container's image on this machine, and with which arguments? Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from headgate.api.workload import Container
from headgate.runtime.pods.environment import expand

RUN = "headgate.dev/run"
DEFAULT_PORT = 8000  # vLLM's

Kind = Literal["engine", "syncer", "gateway", "router", "host", "unknown"]


class Engine(Struct, frozen=True):
    """What runs vLLM: the command in front of vLLM's own flags, why it was chosen, and why it can't run, if so."""

    kind: Literal["sim", "vllm"]
    command: tuple[str, ...]
    why: str = ""
    problem: str = ""


class Program(Struct, frozen=True):
    """How to start a container's process. `shims`: its PATH starts with our own `vllm` and `python`."""

    argv: tuple[str, ...] = ()
    shims: bool = False


_SHELLS = ("sh", "bash", "dash", "ash", "zsh")
_SERVER = re.compile(r"vllm\.entrypoints\.(\w+\.)*api_server\Z")
_IN_A_LINE = re.compile(r"\bvllm(\s+serve\b|\.entrypoints\.)")
_GATEWAYS = re.compile(
    r"(^|[-_])(epp|lwepp|bbr)($|[-_])|endpoint-picker|body-based-rout|llm-d-router|inference-scheduler"
)


_ROUTERS = re.compile(r"(routing|pd|disagg)-sidecar")
_NAMED = 80  # characters of a command that can't run here


def classify(container: Container, annotations: Mapping[str, str]) -> Kind:
    """What a container is here, by image and command.

    `engine`: vLLM or its simulator. `syncer`: our LoRA syncer. `gateway`: an endpoint picker or body-based router,
    which Headgate is itself. `router`: llm-d's routing sidecar, which splits prefill from decode. `host`: the user said
    that its command runs here. `unknown`: nothing here can run it.
    """
    image = repository(container.image)
    words = (*container.command, *container.args)
    if "lora-syncer" in image or "dynamic-lora-sidecar" in image:
        return "syncer"
    line = _shell_line(words)
    if line is not None:
        serves = _IN_A_LINE.search(line) is not None
    else:
        runs_vllm = "llm-d-inference-sim" in image or ("vllm" in image and "router" not in image)
        serves = _flags_of(words) is not None or (runs_vllm and not container.command)
    if serves:
        return "engine"
    if _ROUTERS.search(image):
        return "router"
    if _GATEWAYS.search(image.rpartition("/")[2]):
        return "gateway"
    return "host" if annotations.get(RUN) == "host" and words and container.command else "unknown"


def engine_program(
    engine: Engine, command: Sequence[str], args: Sequence[str], address: str, default_port: int = DEFAULT_PORT
) -> Program:
    """vLLM's command line on this machine: the engine's command, the container's flags, and the Pod's own address.

    vLLM listens on every address when it is not told otherwise, and then the second Pod would find its port taken.
    `default_port` is what stands for vLLM's own; the container's `--port` comes after it, and counts.
    """
    words = (*command, *args)
    if _shell_line(words) is not None:
        return Program(tuple(words), shims=True)
    flags = _flags_of(words)
    if flags is None:
        flags = _with_model(words)
    moved = () if default_port == DEFAULT_PORT else ("--port", str(default_port))
    return Program((*engine.command, *moved, *_without(flags, "--host"), "--host", address))


def syncer_program(python: str, command: Sequence[str], args: Sequence[str]) -> Program:
    """Our syncer with the container's flags; a command of its own (`python sidecar.py …`) keeps only its flags."""
    start = next((at for at, word in enumerate(command) if word.startswith("--")), len(command))
    return Program((*ours(python), "lora-syncer", *command[start:], *args))


def ours(python: str) -> tuple[str, ...]:
    """The `headgate` command, whatever directory the process starts in (-P: not from there)."""
    return (python, "-P", "-m", "headgate")


def named_model(flags: Sequence[str]) -> str | None:
    """The value of `--model`, where no `--served-model-name` says what it is called."""
    if any(flag.partition("=")[0] == "--served-model-name" for flag in flags):
        return None
    for at, flag in enumerate(flags):
        if flag.startswith("--model="):
            return flag.partition("=")[2]
        if flag == "--model" and at + 1 < len(flags):
            return flags[at + 1]
    return None


def line(container: Container) -> str:
    """The whole command line as one text, with the values of those variables that are written beside it."""
    values = {variable.name: variable.value for variable in container.env if variable.value_from is None}
    return expand(" ".join((*container.command, *container.args)), values)


def port(container: Container) -> int:
    """The port that vLLM will serve: `--port` as written, else vLLM's default."""
    found = re.search(r"--port[=\s]+['\"]?(\d{1,5})\b", line(container))
    return int(found[1]) if found else DEFAULT_PORT


def repository(image: str) -> str:
    """An image's name without registry, tag and digest, in lower case."""
    name = image.partition("@")[0].lower()
    head, slash, rest = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        name = rest
    return name.partition(":")[0]


def reason(container: Container) -> str:
    """Why nothing here can run it: its image, or the command that a vLLM image was given."""
    command = _command(container)
    return f"image {container.image or '(none)'} can't run {f'`{command}` ' if command else ''}on this machine"


def refusal(container: Container) -> str:
    """What to tell about a container that nothing here can run."""
    serving = "vLLM's OpenAI server (`vllm serve`)" if _command(container) else "vLLM"
    return (
        f"{reason(container)}: Headgate runs {serving}, its simulator and the LoRA syncer "
        f'(annotate the Pod with `{RUN}: "host"` and give the container a command to run it as a local process, '
        "or run it yourself and give its address with `headgate.dev/address: HOST:PORT`)"
    )


def _command(container: Container) -> str:
    """What a vLLM image is to run in place of vLLM, without its flags; "" where there is no such thing."""
    if "vllm" not in repository(container.image) or not container.command:
        return ""
    words = " ".join((*container.command, *container.args)).split()
    flag = next((at for at, word in enumerate(words) if word.startswith("--")), len(words))
    command = " ".join(words[:flag])
    return command if len(command) <= _NAMED else command[:_NAMED] + "…"


def _shell_line(words: Sequence[str]) -> str | None:
    """The line of `sh -c LINE`, with whatever options the shell has."""
    if not words or words[0].rpartition("/")[2] not in _SHELLS:
        return None
    for at, word in enumerate(words[1:], 1):
        if not word.startswith("-"):
            return None
        if "c" in word.lstrip("-") and not word.startswith("--"):
            return words[at + 1] if at + 1 < len(words) else None
    return None


def _flags_of(words: Sequence[str]) -> tuple[str, ...] | None:
    """vLLM's flags in `python -m vllm.entrypoints.openai.api_server …` or `vllm serve MODEL …`; None: it is neither."""
    for at, word in enumerate(words):
        if _SERVER.match(word):
            return tuple(words[at + 1 :])
        if word.rpartition("/")[2] == "vllm" and words[at + 1 : at + 2] == ("serve",):
            return _with_model(words[at + 2 :])
    return None


def _with_model(words: Sequence[str]) -> tuple[str, ...]:
    """The model as a flag, where it is the first argument without one."""
    if words and not words[0].startswith("-"):
        return ("--model", *words)
    return tuple(words)


def _without(flags: Sequence[str], name: str) -> tuple[str, ...]:
    kept: list[str] = []
    skip = False
    for flag in flags:
        if skip:
            skip = False
        elif flag == name:
            skip = True
        elif not flag.startswith(name + "="):
            kept.append(flag)
    return tuple(kept)
