"""Where all Pods share one address: which ports does a Pod serve, and where are they named? Pure.

`ports` maps a port that the manifest names to the one that stands for it on this machine; it is empty where the Pod
has an address of its own, and then nothing here changes anything.
"""

import re
from collections.abc import Mapping, Sequence

from headgate.api.workload import Container, PodSpec
from headgate.runtime.pods.programs import Kind, line, port

Ports = Mapping[int, int]

SYNCER_METRICS = 8080  # the syncer's own default

_FLAG = re.compile(r"(?<!\S)(--?[\w-]*port(?:=|\s+)['\"]?)(\d{1,5})\b")
_FLAG_ALONE = re.compile(r"--?[\w-]*port|-p")
_LOCAL = re.compile(r"((?:(?<![\w.-])(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]|\*)|(?<!\S)|(?<==)):)(\d{1,5})\b")
_NAMED = re.compile(r"(\w*_)?PORT\Z")


def served(spec: PodSpec, kinds: Mapping[str, Kind]) -> tuple[int, ...]:
    """The ports of a Pod that need one of their own; `kinds`: its containers that stay, by name.

    What a program of the user's listens on can only be changed where its command line or variables name it.
    """
    found: set[int] = set()
    for container in (*spec.init_containers, *spec.containers):
        kind = kinds.get(container.name)
        declared = {declared.container_port for declared in container.ports if declared.protocol == "TCP"}
        if kind == "engine":
            found |= {port(container), *declared, *_named(line(container))}
        elif kind == "syncer":
            found |= {SYNCER_METRICS, *_named(line(container))}
        elif kind == "host":
            found |= declared & _told(container)
    return tuple(sorted(found))


def words(written: Sequence[str], ports: Ports) -> tuple[str, ...]:
    """A command line, where `--port 8000`, `--port=8000`, `-p 8000`, `localhost:8000` and `:8000` name a port."""
    made = []
    for before, word in zip(("", *written), written, strict=False):
        if _FLAG_ALONE.fullmatch(before) and word.isdecimal() and len(word) < 6:
            made.append(str(ports.get(int(word), int(word))))
        else:
            made.append(text(word, ports))
    return tuple(made)


def text(written: str, ports: Ports) -> str:
    """A shell line, a flag or a value of a variable."""

    def replace(match: re.Match[str]) -> str:
        return f"{match[1]}{ports.get(int(match[2]), match[2])}"

    return _LOCAL.sub(replace, _FLAG.sub(replace, written)) if ports else written


def variables(written: Mapping[str, str], ports: Ports) -> dict[str, str]:
    """Variables, where `PORT`, `…_PORT` and `localhost:8000` name a port."""
    return {
        name: str(ports[int(value)])
        if _NAMED.match(name) and value.isdecimal() and int(value) in ports
        else text(value, ports)
        for name, value in written.items()
    }


def listing(ports: Ports) -> str:
    """The ports as HEADGATE_POD_PORTS has them: `8000=20001,8080=20002`."""
    return ",".join(f"{written}={local}" for written, local in sorted(ports.items()))


def _named(written: str) -> set[int]:
    """The values of `--port` and the like."""
    return {int(match[2]) for match in _FLAG.finditer(written) if 0 < int(match[2]) < 65536}


def _told(container: Container) -> set[int]:
    """Every port that its command line or its own variables name."""
    written = line(container)
    found = _named(written) | {int(match[2]) for match in _LOCAL.finditer(written)}
    found |= {int(number) for number in re.findall(r"(?<!\S)-p\s+(\d{1,5})(?!\S)", written)}
    values = {variable.name: variable.value for variable in container.env}
    return found | {int(value) for name, value in values.items() if _NAMED.match(name) and value.isdecimal()}
