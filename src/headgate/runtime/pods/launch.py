"""A container on this machine: command line, variables and directory of its process."""

import os
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from headgate.api.workload import Container
from headgate.runtime.pods.environment import Identity, environment, expand_all
from headgate.runtime.pods.gpus import visible
from headgate.runtime.pods.machine import Machine
from headgate.runtime.pods.mounts import rewriter
from headgate.runtime.pods.ports import listing, text, variables, words
from headgate.runtime.pods.programs import (
    DEFAULT_PORT,
    Kind,
    Program,
    engine_program,
    named_model,
    syncer_program,
)

_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "SSL_CERT_FILE")
_INHERITED_BY_VLLM = re.compile(
    r"(CUDA|NVIDIA|NCCL|HF|HUGGING_FACE|VLLM|TORCH|TRITON|XDG)_|(LD_LIBRARY_PATH|REQUESTS_CA_BUNDLE)\Z"
    r"|(https?|no|all)_proxy\Z",
    re.IGNORECASE,
)
_LOCALHOST = re.compile(r"(?<![\w.-])(localhost|127\.0\.0\.1|0\.0\.0\.0)(?=:\d)")


class NotYet(Exception):
    """The container can't be made before something changes; the text says what is missing."""


class Launch(Struct, frozen=True):
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    mounts: Mapping[str, str]  # mountPath → real path
    address: str
    ports: Mapping[int, int] = {}

    def command(self, written: Sequence[str]) -> tuple[str, ...]:
        """A command that is run *in* the container, by a probe or a hook: its localhost is the Pod's address."""
        rewrite = rewriter(self.mounts)
        return tuple(_LOCALHOST.sub(self.address, rewrite(text(word, self.ports))) for word in written)


def prepare(
    container: Container,
    kind: Kind,
    who: Identity,
    mounts: Mapping[str, str],
    directory: str,
    machine: Machine,
    devices: Sequence[str] = (),
) -> Launch:
    """How to start the container now, with the GPUs `devices`. Raises NotYet, kubelet's CreateContainerConfigError."""
    simulated = kind == "engine" and machine.engine.kind == "sim"
    if kind == "engine" and machine.engine.problem:
        raise NotYet(machine.engine.problem)
    if simulated and machine.engine.why:
        machine.say_once(f"vLLM containers run on the simulator, which makes its answers up: {machine.engine.why}")
    found = environment(container, who, machine.snapshot, machine.own, secrets_optional=simulated)
    if found.missing:
        raise NotYet(f"{', '.join(found.missing)}: not there")
    for unset in found.unset:
        machine.say_once(f"{unset} is not there: the simulator does without")
    rewrite = rewriter(mounts)
    given = variables(found.variables, who.ports)
    program = _program(container, kind, who, given, mounts, machine)
    env = _inherited(kind, simulated, who, machine) | {name: rewrite(value) for name, value in given.items()}
    env |= _told(who, devices, given, machine)
    if program.shims:
        env["PATH"] = f"{machine.shims}{os.pathsep}{env.get('PATH', os.defpath)}"
    if simulated or kind == "syncer":
        # What an image sets to find its own modules would only keep ours from being found.
        for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD"):
            env.pop(name, None)
        if "PYTHONPATH" in machine.own:
            env["PYTHONPATH"] = machine.own["PYTHONPATH"]
    cwd = _directory(container, kind, rewrite(container.working_dir), directory)
    return Launch(program.argv, env, cwd, mounts, who.address, who.ports)


def _inherited(kind: Kind, simulated: bool, who: Identity, machine: Machine) -> dict[str, str]:
    """What every container has of the user's environment, the real vLLM besides, and what its manifest may change."""
    own = {name: machine.own[name] for name in _INHERITED if name in machine.own}
    if kind == "engine" and not simulated:
        own |= {name: value for name, value in machine.own.items() if _INHERITED_BY_VLLM.match(name)}
    return own | {"HOSTNAME": who.name, "PYTHONUNBUFFERED": "1"}


def _told(who: Identity, devices: Sequence[str], given: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """What this machine tells a container, whatever its manifest says: its place and its GPUs."""
    told = {"HEADGATE_POD_ADDRESS": who.address}
    if who.ports:
        told["HEADGATE_POD_PORTS"] = listing(who.ports)
    if DEFAULT_PORT in who.ports:
        told["HEADGATE_ENGINE_PORT"] = str(who.ports[DEFAULT_PORT])
    if devices:
        told["CUDA_VISIBLE_DEVICES"] = visible(devices, given.get("CUDA_VISIBLE_DEVICES"))
        if "CUDA_VISIBLE_DEVICES" not in machine.own and "CUDA_DEVICE_ORDER" not in given:
            told["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # in which nvidia-smi counts, and CUDA alone does not
    return told


def _program(
    container: Container,
    kind: Kind,
    who: Identity,
    given: Mapping[str, str],
    mounts: Mapping[str, str],
    machine: Machine,
) -> Program:
    rewrite = rewriter(mounts)
    written = expand_all((*container.command, *container.args), given)
    if kind != "syncer":  # which is told about ports by a variable: its file names some too
        written = words(written, who.ports)
    split = len(container.command)
    found = tuple(rewrite(word) for word in written)
    if kind == "syncer":
        return syncer_program(machine.python, found[:split], found[split:])
    if kind == "host":
        return Program(found)
    default = who.ports.get(DEFAULT_PORT, DEFAULT_PORT)
    program = engine_program(machine.engine, found[:split], found[split:], who.address, default)
    if program.shims:
        return program
    # The simulator reads no files: it keeps the names that the manifest gives, as clients will use them.
    unmoved = engine_program(machine.engine, written[:split], written[split:], who.address, default)
    if machine.engine.kind == "sim":
        return unmoved
    name = named_model(unmoved.argv)
    if name is not None and name != named_model(program.argv):
        return Program((*program.argv, "--served-model-name", name))
    return program


def _directory(container: Container, kind: Kind, wanted: str, otherwise: str) -> str:
    if not wanted or os.path.isdir(wanted):
        return wanted or otherwise
    if kind == "host":
        raise NotYet(f"container {container.name}: no directory {wanted} on this machine (workingDir)")
    return otherwise  # a directory of the image, which only the image's own program would need
