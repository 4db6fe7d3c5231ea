"""The `headgate` command: which verb is wired to what."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from headgate import __version__

_EPILOG = """\
examples:
  headgate up examples/lora-multi-model          run the manifests of a directory on this machine
  headgate up -f gateway.yaml -f pods.yaml       the same, in kubectl's way of saying it
  headgate check manifests/                      what is wrong with these files?
  headgate get endpoints -o json                 of the system that runs
  headgate explain 3f2a1b-7                      why did that request go where it went?

Manifests are those that you would give to `kubectl apply -f`.
"""

_WHAT = ("gateways", "routes", "pools", "endpoints", "models", "adapters")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. 2 is for a command line that can't be understood."""
    given = list(sys.argv[1:] if argv is None else argv)
    # These two are servers of their own, started by the dozen: they read their flags themselves, and start fast.
    if given[:1] == ["sim"]:
        from headgate.runtime.simulator import main as simulate

        return simulate(given[1:])
    if given[:1] == ["lora-syncer"]:
        from headgate.runtime.syncer import main as sync

        return sync(given[1:])
    arguments = _parser().parse_args(given)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headgate",
        description="An inference gateway: many models and LoRA adapters on few GPUs, by Kubernetes manifests.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"headgate {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    up = _verb(verbs, "up", _up, "run the manifests on this machine: model servers, gateway, LoRA syncer")
    _manifests(up)
    _serving(up)
    pods = up.add_argument_group("pods")
    pods.add_argument(
        "--engine",
        choices=("sim", "vllm", "auto"),
        default="auto",
        help="what runs vLLM containers; auto: real vLLM when it is installed and a GPU is there, else the simulator",
    )
    pods.add_argument(
        "--sim-speed", type=_speed, metavar="F", help="the simulator's speed: 1 real, 10 ten times as fast, 0 at once"
    )
    pods.add_argument(
        "--pod-network",
        type=_network,
        default="127.77.0.0/24",
        metavar="CIDR",
        help="loopback addresses, one for each pod (default %(default)s); off: pods share 127.0.0.1, and each of their "
        "ports is a free one of it, as on machines that have no such addresses (macOS)",
    )

    gateway = _verb(verbs, "gateway", _gateway, "the same gateway, in front of model servers that already run")
    _manifests(gateway, flag="--config")
    _serving(gateway)

    check = _verb(verbs, "check", _check, "say every mistake in the manifests; exit status 1 when there are any")
    _manifests(check)
    check.add_argument("-o", "--output", choices=("text", "json"), default="text")

    translate = _verb(
        verbs, "translate", _translate, "print the plan and the statuses that the manifests amount to, as YAML"
    )
    _manifests(translate)
    translate.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml")

    get = _verb(verbs, "get", _get, "show what runs: " + ", ".join(_WHAT))
    get.add_argument("what", nargs="?", choices=_WHAT, help="one kind; all of them when left out")
    get.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")
    _name(get)

    explain = _verb(verbs, "explain", _explain, "why a recent request went where it went")
    explain.add_argument("request_id", help="the x-request-id of its answer")
    explain.add_argument("-o", "--output", choices=("text", "json"), default="text")
    _name(explain)

    for name, text in (
        ("sim", "a model server simulator that speaks vLLM on the wire (headgate sim --help)"),
        ("lora-syncer", "keep a vLLM server's LoRA adapters as a ConfigMap says (headgate lora-syncer --help)"),
    ):
        verbs.add_parser(name, help=text, add_help=False)
    return parser


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def _manifests(parser: argparse.ArgumentParser, flag: str = "") -> None:
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files and directories of manifests; - is standard input"
    )
    names = ("-f", "--filename", flag) if flag else ("-f", "--filename")
    parser.add_argument(
        *names,
        dest="more",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATH",
        help="the same, as kubectl writes it",
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="read what stands below the directories too")


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="default", help="which instance, where several run (default %(default)s)")


def _serving(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    group = parser.add_argument_group("serving")
    group.add_argument(
        "--address",
        default="127.0.0.1",
        help="where gateways listen (default %(default)s); further gateways take the next ones",
    )
    group.add_argument(
        "--privileged-ports", action="store_true", help="serve ports below 1024 as they are, not at port + 8000"
    )
    group.add_argument("--debug-headers", action="store_true", help="answers say which endpoint served them")
    group.add_argument(
        "--access-log",
        metavar="PATH",
        help="a file, - for standard output, or off (default: a file for up, - for gateway)",
    )
    group.add_argument(
        "--metrics",
        default="127.0.0.1:9090",
        metavar="HOST:PORT",
        help="Prometheus metrics (default %(default)s), or off",
    )
    group.add_argument(
        "--body-limit", type=int, default=64, metavar="MIB", help="the largest request body (default %(default)s)"
    )
    group.add_argument(
        "--wait",
        type=float,
        default=30.0,
        metavar="S",
        help="how long a request may wait for an endpoint (default %(default)s)",
    )
    group.add_argument(
        "--grace",
        type=float,
        default=10.0,
        metavar="S",
        help="what runs may finish within this at the end (default %(default)s)",
    )


def _speed(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be below 0")
    return value


def _network(text: str) -> str:
    import ipaddress

    if text != "off":
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}: write a network such as 127.77.0.0/24, or off") from None
    return text


def _paths(arguments: argparse.Namespace) -> tuple[str, ...]:
    return (*arguments.paths, *arguments.more)


def _no_paths() -> int:
    return _complain("which manifests? Give files or directories, as to kubectl apply -f", 2)


def _complain(text: str, status: int = 1) -> int:
    print(f"headgate: {text}", file=sys.stderr)
    return status


def _up(arguments: argparse.Namespace) -> int:
    return _run(
        arguments, launch=True, engine=arguments.engine, network=arguments.pod_network, speed=arguments.sim_speed
    )


def _gateway(arguments: argparse.Namespace) -> int:
    return _run(arguments, launch=False)


def _run(arguments: argparse.Namespace, *, launch: bool, **of_pods: Any) -> int:
    from headgate.proxy.plane import Bounds
    from headgate.runtime import gateway, instance, pods, up

    paths = _paths(arguments)
    if not paths:
        return _no_paths()
    try:
        directory, lock = instance.claim(arguments.name)
    except instance.Unusable as error:
        return _complain(str(error))
    log = arguments.access_log or (str(directory / "access.log") if launch else "-")
    with lock:
        return up.run(
            up.Options(
                paths=paths,
                recursive=arguments.recursive,
                directory=directory,
                gateway=gateway.Options(
                    address=arguments.address,
                    privileged_ports=arguments.privileged_ports,
                    debug_headers=arguments.debug_headers,
                    access_log="" if log == "off" else log,
                    bounds=Bounds(body=arguments.body_limit << 20),
                    wait_s=arguments.wait,
                ),
                pods=pods.Options(state_dir=str(directory), launch=launch, **of_pods),
                metrics="" if arguments.metrics == "off" else arguments.metrics,
                grace_s=arguments.grace,
            )
        )


def _check(arguments: argparse.Namespace) -> int:
    from headgate.runtime.config import read
    from headgate.runtime.rows import complaints

    paths = _paths(arguments)
    if not paths:
        return _no_paths()
    reading = read(paths, recursive=arguments.recursive)
    statuses = complaints(reading.statuses)
    if arguments.output == "json":
        problems = [
            {
                "file": problem.where.file,
                "line": problem.where.line,
                "field": problem.field,
                "severity": problem.severity,
                "message": problem.message,
                "object": problem.object,
            }
            for problem in reading.problems
        ]
        print(json.dumps({"problems": problems, "statuses": statuses}, indent=2))
    else:
        for problem in reading.problems:
            print(problem if problem.severity == "error" else f"{problem} [{problem.severity}]")
        for text in statuses:
            print(text)
    return 1 if reading.errors or statuses else 0


def _translate(arguments: argparse.Namespace) -> int:
    import msgspec

    from headgate.plan import translation_yaml
    from headgate.runtime.config import read

    paths = _paths(arguments)
    if not paths:
        return _no_paths()
    reading = read(paths, recursive=arguments.recursive)
    for problem in reading.problems:
        print(problem, file=sys.stderr)
    if arguments.output == "json":
        both = {"plan": msgspec.to_builtins(reading.plan), "statuses": msgspec.to_builtins(reading.statuses)}
        print(json.dumps(both, indent=2, ensure_ascii=False))
    else:
        print(translation_yaml(reading.plan, reading.statuses), end="")
    return 1 if reading.errors else 0


def _get(arguments: argparse.Namespace) -> int:
    from headgate.runtime.instance import NotRunning, ask
    from headgate.runtime.table import table

    kinds = [arguments.what] if arguments.what else list(_WHAT)
    try:
        found = {kind: json.loads(ask(arguments.name, f"/get/{kind}")[1]) for kind in kinds}
    except NotRunning as error:
        return _complain(str(error))
    value = found[arguments.what] if arguments.what else found
    if arguments.output == "json":
        print(json.dumps(value, indent=2, ensure_ascii=False))
    elif arguments.output == "yaml":
        import yaml

        print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")
    elif arguments.what:
        print(table(found[arguments.what]) if found[arguments.what] else f"There are no {arguments.what}.")
    else:
        print("\n\n".join(f"{kind.upper()}\n{table(rows, indent='  ')}" for kind, rows in found.items() if rows))
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    from urllib.parse import quote

    from headgate.runtime.instance import NotRunning, ask

    suffix = "?text" if arguments.output == "text" else ""
    try:
        status, body = ask(arguments.name, f"/explain/{quote(arguments.request_id, safe='')}{suffix}")
    except NotRunning as error:
        return _complain(str(error))
    if status != 200:
        return _complain(json.loads(body)["error"])
    if arguments.output == "json":
        print(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    else:
        print(body.decode(), end="")
    return 0
