"""What `headgate epp` and `headgate bbr` have in common: how they begin, what they show, and where objects are."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from headgate.cli.go_flags import Options, notes

if TYPE_CHECKING:
    from headgate.runtime.epp.face import Ports
    from headgate.runtime.epp.guard import Guard
    from headgate.runtime.epp.identity import Identity
    from headgate.runtime.epp.watched import Options as Watching
    from headgate.runtime.files import Files
    from headgate.runtime.kubernetes.access import Access
    from headgate.runtime.world import Made

_EXTRA = "this needs protobuf and hpack: pip install -e '.[epp]' in Headgate's directory"
_FILES = 65_536
TLS = {"": "1.2", "VersionTLS12": "1.2", "VersionTLS13": "1.3", "1.2": "1.2", "1.3": "1.3"}


class Unusable(Exception):
    """The command line can't be meant (status 2), or something is missing (1). The text is for people."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def begin(options: Options) -> None:
    """Say what means nothing, and have a signal end it until the event loop takes them over. Raises Unusable."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    if note := notes(options.parsed):
        print(f"headgate: {note}", file=sys.stderr)
    try:
        import envoy.service.ext_proc  # noqa: F401
        import hpack  # noqa: F401
    except ImportError:
        raise Unusable(_EXTRA) from None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def identity(options: Options, least: str) -> "Identity | None":
    """None where it speaks no TLS. Raises Unusable."""
    from headgate.runtime.epp.identity import Identity, Unfit

    if not options.on("secure-serving"):
        return None
    try:
        return Identity(least, options.text("cert-path"))
    except Unfit as error:
        raise Unusable(f"--cert-path: {error}") from None
    except ImportError:
        raise Unusable(
            "a certificate of its own needs cryptography: pip install -e '.[epp]' in Headgate's directory"
        ) from None


def access(options: Options, *, needed: bool) -> "Access | None":
    """How to reach the cluster; None where files are read, or, where it is not `needed`, none is to be seen.

    Raises Unusable.
    """
    paths = options.parsed.rest
    if paths and options.on("kubernetes"):
        raise Unusable("--kubernetes reads from the cluster: give no files", 2)
    asked = options.on("kubernetes") or bool(options.text("kubeconfig")) or "KUBERNETES_SERVICE_HOST" in os.environ
    if paths or not (needed or asked):
        return None
    from headgate.runtime.kubernetes.access import AccessError, find

    try:
        return find(options.text("kubeconfig"))
    except AccessError as error:
        raise Unusable(f"{error}; or give files with the objects") from None


def world(named: "Files", directory: Path, watched: "Watching | None", say: Callable[[str], None]) -> "Made | None":
    """Files and servers that run already, or a cluster. None where it is said why nothing can be started."""
    reading = named.read(None)
    if unusable := named.unusable(reading):
        for line in unusable:
            say(line)
        return None
    if watched is None:
        from headgate.runtime import pods
        from headgate.runtime.local import Local

        return partial(Local, pods.Options(state_dir=str(directory), launch=False), named, reading)
    from headgate.runtime.epp.watched import Watched

    return partial(Watched, watched, named)


def ports(options: Options) -> "Ports":
    from headgate.runtime.epp.face import Ports

    return Ports(
        options.text("address"),
        options.number("grpc-port"),
        options.number("grpc-health-port"),
        options.number("metrics-port"),
        options.seconds("drain-timeout"),
        options.on("enable-cert-reload"),
        options.on("reuse-port"),
    )


def guard(options: Options, reached: "Access | None") -> "Guard | None":
    """Who may read metrics; None where everybody may. Call it in the event loop."""
    if reached is None or not options.on("metrics-endpoint-auth"):
        return None
    from headgate.runtime.epp.guard import Guard
    from headgate.runtime.kubernetes.client import Client

    return Guard(Client(reached))
