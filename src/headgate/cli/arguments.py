"""The command line: which words it takes, and what they turn into."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from headgate import __version__
from headgate.cli import bench, cluster, drain, examples, values, verbs
from headgate.cli.serving import serving


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """What is wrong, not fifteen lines of usage above it."""
        self.exit(2, f"{self.prog}: {message}\n{self.prog} --help says more\n")


def parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="headgate",
        description="An inference gateway: many models and LoRA adapters on few GPUs, by Kubernetes manifests.",
        epilog=examples.HEADGATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"headgate {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    up = _verb(
        commands, "up", verbs.up, "run the manifests on this machine: model servers, gateway, LoRA syncer", examples.UP
    )
    _manifests(up)
    _name(up)
    serving(up)
    pods = up.add_argument_group("pods")
    pods.add_argument(
        "--engine",
        choices=("sim", "vllm", "auto"),
        default="auto",
        help="what runs vLLM containers; auto: real vLLM when it is installed and a GPU is there, else the simulator",
    )
    pods.add_argument(
        "--sim-speed",
        type=values.at_least_0,
        metavar="F",
        help="the simulator's speed: 1 real, 10 ten times as fast, 0 at once",
    )
    pods.add_argument(
        "--pod-network",
        type=values.network,
        default="127.77.0.0/24",
        metavar="CIDR",
        help="loopback addresses, one for each pod (default %(default)s); off: pods share 127.0.0.1, and each of their "
        "ports is a free one of it, as on machines that have no such addresses (macOS)",
    )

    gateway = _verb(
        commands,
        "gateway",
        verbs.gateway,
        "the same gateway, in front of model servers that already run, or in a Kubernetes cluster",
        examples.GATEWAY,
    )
    _manifests(gateway, flag="--config")
    cluster.add_flags(gateway)
    _name(gateway)
    serving(gateway)
    gateway.add_argument(
        "--take-over",
        action="store_true",
        help="take the place of the gateway of this name that runs, and its sockets: it finishes what it has, and no "
        "request is lost; where none runs, just start",
    )

    check = _verb(commands, "check", verbs.check, "say every mistake in the manifests", examples.CHECK)
    _manifests(check)
    check.add_argument("-o", "--output", choices=("text", "json"), default="text")

    translate = _verb(
        commands,
        "translate",
        verbs.translate,
        "print the plan and the statuses that the manifests amount to",
        examples.TRANSLATE,
    )
    _manifests(translate)
    translate.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml")

    crds = _verb(
        commands, "crds", verbs.crds, "print the CustomResourceDefinitions that a cluster needs", examples.CRDS
    )
    crds.add_argument("--gke", action="store_true", help="HealthCheckPolicy and GCPBackendPolicy too, for other clouds")
    crds.add_argument(
        "--no-rules",
        action="store_true",
        help="without the rules between fields, for API servers older than Kubernetes 1.25, which know none",
    )
    crds.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml")
    rendering = _verb(
        commands,
        "render",
        verbs.render,
        "print the manifests as the configuration of another data plane: envoy",
        examples.RENDER,
    )
    rendering.add_argument("target", choices=("envoy",), metavar="envoy", help="whose configuration")
    _manifests(rendering)
    rendering.add_argument(
        "-o",
        "--output",
        default="-",
        metavar="FOLDER",
        help="where to write files that Envoy follows; - prints the same as one file (default)",
    )
    rendering.add_argument(
        "--address",
        type=values.address,
        default="127.0.0.1",
        metavar="HOST",
        help="where gateways listen (default %(default)s)",
    )
    rendering.add_argument(
        "--privileged-ports", action="store_true", help="serve ports below 1024 as they are, not at port + 8000"
    )
    rendering.add_argument(
        "--admin",
        type=values.metrics,
        default="127.0.0.1:9901",
        metavar="HOST:PORT",
        help="Envoy's own (default %(default)s)",
    )
    rendering.add_argument(
        "--processor",
        metavar="PATH",
        help="the Unix socket where headgate answers what only it knows (default: processor.sock in the folder)",
    )

    get = _verb(commands, "get", verbs.get, "show what runs: " + ", ".join(verbs.KINDS), examples.GET)
    get.add_argument(
        "what", type=_kind, nargs="?", choices=verbs.KINDS, metavar="KIND", help="one kind; all of them when left out"
    )
    get.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")
    _name(get)

    explain = _verb(commands, "explain", verbs.explain, "why a recent request went where it went", examples.EXPLAIN)
    explain.add_argument("request_id", metavar="REQUEST_ID", help="the x-request-id of its answer")
    explain.add_argument(
        "--what-if",
        metavar="FILE",
        help="an EndpointPickerConfig: what it would have chosen for the same request, and why; - is standard input",
    )
    explain.add_argument("-o", "--output", choices=("text", "json"), default="text")
    _name(explain)

    rehearsing = _verb(
        commands, "bench", verbs.bench, "what would a policy do? Rehearse it on simulated servers", examples.BENCH
    )
    bench.add_flags(rehearsing)

    draining = _verb(commands, "drain-time", drain.run, "how long a model server needs to stop", drain.EXAMPLES)
    drain.add_flags(draining)

    for name, text in (
        ("sim", "a model server simulator that speaks vLLM on the wire"),
        ("lora-syncer", "keep a vLLM server's LoRA adapters as a ConfigMap says"),
        ("epp", "pick endpoints for somebody else's proxy, by ext_proc"),
        ("bbr", "body-based routing alone: the model of a body becomes a header, by ext_proc"),
    ):
        commands.add_parser(name, help=text, add_help=False)
    return top


def _verb(
    commands: "argparse._SubParsersAction[_Parser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
    more: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
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


def _kind(text: str) -> str:
    """`pod` is as good as `pods`."""
    return f"{text}s" if f"{text}s" in verbs.KINDS else text
