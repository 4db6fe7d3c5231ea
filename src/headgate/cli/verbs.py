"""What each verb does. Imports are where they are used: `get` and `explain` must not wait for what `up` needs."""

import argparse
import gc
import json
import os
import signal
import sys
from math import inf
from pathlib import Path
from typing import Any

from headgate.cli import cluster

KINDS = ("gateways", "routes", "pools", "endpoints", "models", "adapters", "pods", "queues", "shadow")
_NOTHING = {"shadow": "No policy is in the shadow: headgate up and gateway take one with --shadow-config FILE."}


def _paths(arguments: argparse.Namespace) -> tuple[str, ...]:
    return (*arguments.paths, *arguments.more)


def _no_paths() -> int:
    return complain("which manifests? Give files or directories, as to kubectl apply -f", 2)


def complain(text: str, status: int = 1) -> int:
    print(f"headgate: {text}", file=sys.stderr)
    return status


def up(arguments: argparse.Namespace) -> int:
    return _run(
        arguments, launch=True, engine=arguments.engine, network=arguments.pod_network, speed=arguments.sim_speed
    )


def gateway(arguments: argparse.Namespace) -> int:
    return _run(arguments, launch=False, take_over=arguments.take_over)


def _run(arguments: argparse.Namespace, *, launch: bool, take_over: bool = False, **of_pods: Any) -> int:
    paths = _paths(arguments)
    try:
        in_cluster = cluster.options(arguments)
    except cluster.Unusable as error:
        return complain(str(error), error.status)
    if not paths and in_cluster is None:
        return _no_paths()

    # Until the event loop takes them over nothing runs, and nothing is left. An exception would not do: one that is
    # raised in the middle of an import may be swallowed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    from headgate.pick.room import Room
    from headgate.proxy.plane import Bounds
    from headgate.runtime import gateway as gateways
    from headgate.runtime import instance, pods, takeover
    from headgate.runtime import up as system
    from headgate.runtime.pods.engine import find_engine

    if of_pods.get("engine") == "vllm" and (problem := find_engine("vllm", sys.executable).problem):
        return complain(problem)
    envoy = ""
    if arguments.data_plane == "envoy":
        from headgate.runtime.envoy import binary

        if take_over:
            return complain(
                "--take-over hands over sockets, and with --data-plane envoy those are Envoy's: leave it out", 2
            )
        try:
            envoy = binary.complete(arguments.envoy)
        except binary.Unusable as error:
            return complain(str(error))
    try:
        inherited = takeover.take(instance.home(arguments.name)) if take_over else None
        directory, lock = inherited.instance if inherited else instance.claim(arguments.name)
    except instance.Unusable as error:
        return complain(str(error))
    usual = "127.0.0.1" if in_cluster is None else "0.0.0.0"  # where it listens
    log = arguments.access_log or (str(directory / "access.log") if launch else "-")
    with lock:
        return system.run(
            system.Options(
                paths=paths,
                config=arguments.picker_config or "",
                config_text=arguments.config_text,
                shadow=arguments.shadow_config or "",
                recursive=arguments.recursive,
                directory=directory,
                gateway=gateways.Options(
                    address=arguments.address or usual,
                    privileged_ports=arguments.privileged_ports,
                    debug_headers=arguments.debug_headers,
                    access_log="" if log == "off" else log,
                    bounds=Bounds(
                        body=arguments.body_limit << 20,
                        connections=arguments.connection_limit or system.connections(1 if envoy else arguments.workers),
                        held=arguments.held_limit << 20,
                        connect_s=arguments.connect_timeout or inf,
                        first_byte_s=arguments.first_byte_timeout or inf,
                        silence_s=arguments.idle_timeout or inf,
                    ),
                    request_s=arguments.request_timeout or None,
                    tries=arguments.retries + 1,
                    wait_s=arguments.wait,
                    scrape_s=arguments.scrape_interval,
                    workers=arguments.workers,
                    envoy=envoy,
                    directory=str(directory),
                    tell_stalls=True,
                    eject_after=arguments.eject_after,
                    slow_start_s=arguments.slow_start,
                    profile=arguments.profile,
                    shadow_share=arguments.shadow_share,
                    flow_control=arguments.flow_control,
                    room=Room(arguments.endpoint_limit, arguments.pool_limit),
                ),
                pods=pods.Options(state_dir=str(directory), launch=launch, **of_pods),
                metrics=arguments.metrics and (arguments.metrics[0] or usual, arguments.metrics[1]),
                cluster=in_cluster,
                grace_s=arguments.grace,
            ),
            lock,
            inherited,
        )


def check(arguments: argparse.Namespace) -> int:
    from headgate.runtime.complaints import complaints
    from headgate.runtime.config import in_data, read, remark
    from headgate.runtime.policies import Policies
    from headgate.runtime.sources import Sources

    paths = _paths(arguments)
    if not paths:
        return _no_paths()
    reading = read(Sources(paths, recursive=arguments.recursive), policies=Policies(print, run=False))
    statuses = complaints(reading.statuses)
    if arguments.output == "json":
        print(json.dumps({"problems": [in_data(one) for one in reading.problems], "statuses": statuses}, indent=2))
    else:
        for text in dict.fromkeys([*map(remark, reading.problems), *statuses]):
            print(text)
    return 1 if reading.errors or statuses else 0


def translate(arguments: argparse.Namespace) -> int:
    import msgspec

    from headgate.plan import seal, translation_yaml
    from headgate.runtime.config import read, remark
    from headgate.runtime.sources import Sources

    paths = _paths(arguments)
    if not paths:
        return _no_paths()
    reading = read(Sources(paths, recursive=arguments.recursive))
    for problem in reading.problems:
        print(remark(problem), file=sys.stderr)
    if arguments.output == "json":
        plan = msgspec.to_builtins(reading.plan, enc_hook=seal)
        both = {"plan": plan, "statuses": msgspec.to_builtins(reading.statuses)}
        print(json.dumps(both, indent=2, ensure_ascii=False))
    else:
        print(translation_yaml(reading.plan, reading.statuses), end="")
    return 1 if reading.errors else 0


def crds(arguments: argparse.Namespace) -> int:
    from headgate.api.crds import crds as definitions

    found = list(definitions(gke=arguments.gke, rules=not arguments.no_rules))
    if arguments.output == "json":
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}, indent=2))
    else:
        import yaml

        apart = json.loads(json.dumps(found))  # of parts that are one object YAML would write references
        print(yaml.safe_dump_all(apart, sort_keys=False, width=120, explicit_start=True), end="")
    return 0


def render(arguments: argparse.Namespace) -> int:
    from headgate.runtime.config import read, remark
    from headgate.runtime.envoy.rendered import printed, written
    from headgate.runtime.sources import Sources

    paths = _paths(arguments)
    if not paths:
        return _no_paths()
    if arguments.admin is None:
        return complain("--admin: Envoy needs a place for its admin face; write HOST:PORT", 2)
    reading = read(Sources(paths, recursive=arguments.recursive))
    for problem in reading.problems:
        print(remark(problem), file=sys.stderr)
    if arguments.output == "-":
        print(printed(reading, arguments), end="")
    else:
        try:
            written(reading, arguments)
        except OSError as error:
            return complain(f"--output {arguments.output}: {error.strerror or error}")
    return 1 if reading.errors else 0


def get(arguments: argparse.Namespace) -> int:
    from headgate.runtime.table import table, terminal_width

    kinds = [arguments.what] if arguments.what else list(KINDS)
    found: dict[str, Any] = {}
    for kind in kinds:
        body = _ask(arguments.name, f"/get/{kind}")
        if isinstance(body, str):
            return complain(body)
        found[kind] = json.loads(body)
    value = found[arguments.what] if arguments.what else found
    if arguments.output == "json":
        print(json.dumps(value, indent=2, ensure_ascii=False))
    elif arguments.output == "yaml":
        import yaml

        print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")
    elif arguments.what:
        rows, nothing = found[arguments.what], _NOTHING.get(arguments.what, f"There are no {arguments.what}.")
        print(table(arguments.what, rows, width=terminal_width()) if rows else nothing)
    else:
        width = terminal_width()
        shown = [
            f"{kind.upper()}\n{table(kind, rows, indent='  ', width=width)}" for kind, rows in found.items() if rows
        ]
        print("\n\n".join(shown) or "There is nothing yet.")
    return 0


def explain(arguments: argparse.Namespace) -> int:
    from urllib.parse import quote

    query, config = ["text"] if arguments.output == "text" else [], None
    if arguments.what_if is not None:
        try:
            config = sys.stdin.buffer.read() if arguments.what_if == "-" else Path(arguments.what_if).read_bytes()
        except OSError as error:
            return complain(f"--what-if {arguments.what_if}: {error.strerror or error}")
        if not config.strip():
            return complain(f"--what-if {arguments.what_if}: it is empty; write an EndpointPickerConfig")
        directory = os.getcwd() if arguments.what_if == "-" else os.path.dirname(os.path.abspath(arguments.what_if))
        query += [f"file={quote(arguments.what_if, safe='')}", f"directory={quote(directory, safe='')}"]
    path = f"/explain/{quote(arguments.request_id, safe='')}"
    body = _ask(arguments.name, f"{path}?{'&'.join(query)}" if query else path, config)
    if isinstance(body, str):
        return complain(body)
    if arguments.output == "json":
        print(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    else:
        print(body.decode(), end="")
    return 0


def bench(arguments: argparse.Namespace) -> int:
    from headgate.cli.capacity import find_capacity
    from headgate.cli.rehearse import rehearse
    from headgate.cli.staged import Unusable

    gc.disable()  # nothing of a rehearsal is cyclic, and looking for it costs a quarter of the time
    try:
        return find_capacity(arguments) if arguments.find_capacity else rehearse(arguments)
    except Unusable as error:
        return complain(str(error))


def _ask(name: str, path: str, given: bytes | None = None) -> bytes | str:
    """What the running instance answers, or in words why it does not."""
    from headgate.runtime.instance import NotRunning, Unusable, ask

    try:
        status, body = ask(name, path, given)
    except (NotRunning, Unusable) as error:
        return str(error)
    if status != 200:
        return str(json.loads(body)["error"])
    return body
