"""The flags of a gateway that reads from a Kubernetes cluster, and what they turn into."""

import argparse
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headgate.runtime.kubernetes.cluster import Options

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_ONLY_THERE = ("kubeconfig", "context", "namespace", "gateway_class", "service")


class Unusable(Exception):
    """The flags don't go together (status 2), or lead nowhere (1); the text says why, for people."""

    def __init__(self, text: str, status: int = 2) -> None:
        super().__init__(text)
        self.status = status


def add_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("in a Kubernetes cluster (docs/kubernetes.md)")
    group.add_argument(
        "--kubernetes",
        action="store_true",
        help="read the objects from the Kubernetes API in place of files, and write their statuses",
    )
    group.add_argument(
        "--kubeconfig",
        metavar="FILE",
        default="",
        help="how to reach it (default: $KUBECONFIG, then the service account of our own Pod, then ~/.kube/config)",
    )
    group.add_argument("--context", metavar="NAME", default="", help="one of the kubeconfig's (default: its current)")
    group.add_argument(
        "--namespace",
        action="append",
        type=_name,
        default=[],
        metavar="NAME",
        help="read objects of this namespace only; may be given again (default: of all)",
    )
    group.add_argument(
        "--gateway-class",
        action="append",
        type=_name,
        default=[],
        metavar="NAME",
        help="serve Gateways of this class too, whosever it is; may be given again (default: those of classes with "
        "controllerName headgate.dev/gateway-controller)",
    )
    group.add_argument(
        "--service",
        type=_service,
        metavar="[NAMESPACE/]NAME",
        help="the Service in front of this gateway: its address is that of the Gateways, in their status (default: "
        "where they are served here, if that is not 0.0.0.0)",
    )


def options(arguments: argparse.Namespace) -> "Options | None":
    """None for a gateway that reads files. Raises Unusable."""
    if not getattr(arguments, "kubernetes", False):
        given = next((name for name in _ONLY_THERE if getattr(arguments, name, None)), None)
        if given is not None:
            raise Unusable(f"--{given.replace('_', '-')} means something with --kubernetes only")
        return None
    if arguments.paths or arguments.more:
        raise Unusable("--kubernetes reads objects from the cluster: apply the manifests there, and give no files")
    from headgate.runtime.kubernetes import access, client, cluster

    if find_spec("aiohttp") is None:
        raise Unusable(f"--kubernetes: {client.NotInstalled()}", 1)
    try:
        found = access.find(arguments.kubeconfig, arguments.context)
    except access.AccessError as error:
        raise Unusable(str(error), 1) from None
    return cluster.Options(
        found,
        namespaces=tuple(dict.fromkeys(arguments.namespace)),
        classes=tuple(dict.fromkeys(arguments.gateway_class)),
        service=arguments.service or "",
        lease="headgate-gateway" if arguments.name == "default" else f"headgate-gateway-{arguments.name}",
    )


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of an object: lower case letters, digits, dashes, dots")
    return text


def _service(text: str) -> str:
    namespace, slash, name = text.rpartition("/")
    if slash:
        _name(namespace)
    _name(name)
    return text
