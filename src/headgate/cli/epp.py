"""`headgate epp`: from a command line to a running picker."""

import os
import resource
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from headgate.cli import epp_flags as flags
from headgate.cli.go_flags import Wrong
from headgate.cli.names import PROFILES

if TYPE_CHECKING:
    from headgate.runtime.epp.identity import Identity
    from headgate.runtime.kubernetes.access import Access

_EXTRA = "this needs protobuf and hpack: pip install 'headgate[epp]'"
_FILES = 65_536


def main(argv: Sequence[str]) -> int:
    """The exit status."""
    if any(word in ("-h", "-help", "--help") for word in argv):
        print(flags.help_text(), end="")
        return 0
    try:
        options = flags.read(argv)
    except Wrong as error:
        return _complain(f"{error}\nheadgate epp --help says more", 2)
    # Until the event loop takes them over nothing runs, and nothing is left.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    for note in options.values.notes:
        print(f"headgate: {note}", file=sys.stderr)
    try:
        import envoy.service.ext_proc  # noqa: F401
        import hpack  # noqa: F401
    except ImportError:
        return _complain(_EXTRA, 1)
    return _run(options)


def _complain(text: str, status: int) -> int:
    print(f"headgate epp: {text}", file=sys.stderr)
    return status


def _run(options: flags.Options) -> int:
    from headgate.runtime import instance

    profile = options.text("profile")
    if profile not in PROFILES:
        return _complain(f"--profile: {profile!r}: write one of {', '.join(PROFILES)}", 2)
    name = options.text("name") or f"epp-{options.pool.rpartition('/')[2] or 'picker'}"[:63]
    try:
        identity = _identity(options)
        access = _access(options)
        directory, lock = instance.claim(name)
    except (instance.Unusable, _Unusable) as error:
        return _complain(str(error), 1)
    with lock:
        return _serve(options, directory, lock, identity, access)


class _Unusable(Exception):
    pass


def _identity(options: flags.Options) -> "Identity | None":
    from headgate.runtime.epp.identity import Identity, Unfit

    if not options.on("secure-serving"):
        return None
    try:
        return Identity(options.tls, options.text("cert-path"))
    except Unfit as error:
        raise _Unusable(f"--cert-path: {error}") from None
    except ImportError:
        raise _Unusable("a certificate of its own needs cryptography: pip install 'headgate[epp]'") from None


def _access(options: flags.Options) -> "Access | None":
    """How to reach the cluster; None where files are read."""
    if options.paths and not options.on("kubernetes"):
        return None
    if options.paths:
        raise _Unusable("--kubernetes reads from the cluster: give no files")
    from headgate.runtime.kubernetes.access import AccessError, find

    try:
        return find(options.text("kubeconfig"))
    except AccessError as error:
        raise _Unusable(f"{error}; or give files with the pool and its Pods") from None


def _serve(
    options: flags.Options, directory: Path, lock: IO[str], identity: "Identity | None", access: "Access | None"
) -> int:
    import uvloop

    from headgate.api import Text
    from headgate.envoy.options import Options as Answering
    from headgate.envoy.options import as_it_is
    from headgate.envoy.refusals import in_text
    from headgate.plan.plan import Pool
    from headgate.proxy.plane import Bounds
    from headgate.runtime import gateway, pods
    from headgate.runtime.accesslog import AccessLog
    from headgate.runtime.epp.guard import Guard
    from headgate.runtime.epp.picker import Options, Picker
    from headgate.runtime.files import Files
    from headgate.runtime.kubernetes.client import Client
    from headgate.runtime.kubernetes.cluster import Cluster
    from headgate.runtime.kubernetes.cluster import Options as ClusterOptions
    from headgate.runtime.local import Local
    from headgate.runtime.policies import Policies
    from headgate.runtime.process import settle_memory
    from headgate.runtime.sources import Sources
    from headgate.runtime.voice import Voice
    from headgate.runtime.world import Made

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    log_to = "" if options.text("access-log") == "off" else options.text("access-log")
    voice = Voice(aside=log_to == "-")
    policies = Policies(voice.say)
    config, text = options.text("config-file"), options.text("config-text")
    texts = (Text("--config-text", text),) if text else ()
    files = Files(Sources((*options.paths, *([config] if config else ())), texts=texts), None, policies)
    if access is None:
        local = pods.Options(state_dir=str(directory), launch=False)
        world: Made = partial(Local, local, files, files.read(None))
    else:
        world = partial(Cluster, ClusterOptions(access, (options.namespace,)), files)
    selected = None
    if options.selector:
        selected = Pool(f"{options.namespace}/endpoints", options.namespace, options.selector, options.ports)
    made = Options(
        pool=options.pool,
        selected=selected,
        directory=directory,
        gateway=gateway.Options(
            debug_headers=False,
            access_log=log_to,
            bounds=Bounds(body=options.number("body-limit") << 20, held=options.number("held-limit") << 20),
            wait_s=options.seconds("wait"),
            tries=1,
            profile=options.text("profile"),
            flow_control=options.on("flow-control"),
            scrape_s=options.seconds("refresh-metrics-interval") or None,
            tell_stalls=True,
            directory=str(directory),
        ),
        answering=Answering(
            refusal=in_text if options.text("error-body") == "text" else as_it_is,
            destinations=1 + options.number("fallbacks"),
            scores=options.on("emit-endpoint-scores"),
            subsets=not options.on("disable-endpoint-subset-filter"),
            tests=options.on("conformance"),
        ),
        address=options.text("address"),
        grpc_port=options.number("grpc-port"),
        health_port=options.number("grpc-health-port"),
        metrics_port=options.number("metrics-port"),
        drain_s=options.seconds("drain-timeout"),
        fails=options.on("conformance"),
        follow_certificate=options.on("enable-cert-reload"),
    )

    async def run() -> int:
        settle_memory()
        guarded = None
        client = None
        if access is not None and options.on("metrics-endpoint-auth"):
            client = Client(access)
            guarded = Guard(client).before
        try:
            return await Picker(made, world, policies, voice, log, lock, identity, guarded).run()
        finally:
            if client is not None:
                await client.close()

    try:
        log = AccessLog(log_to, voice.say) if log_to else None
    except OSError as error:
        voice.say(f"--access-log {log_to}: {error.strerror or error}")
        return 1
    else:
        return uvloop.run(run())
    finally:
        voice.close()
