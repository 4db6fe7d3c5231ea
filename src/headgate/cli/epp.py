"""`headgate epp`: from a command line to a running picker."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from headgate.cli import epp_flags, processors
from headgate.cli.go_flags import Wrong, asks_for_help
from headgate.cli.names import PROFILES
from headgate.cli.processors import Unusable

if TYPE_CHECKING:
    from headgate.runtime.accesslog import AccessLog
    from headgate.runtime.epp.identity import Identity
    from headgate.runtime.epp.picker import Options
    from headgate.runtime.epp.watched import Options as Watching
    from headgate.runtime.kubernetes.access import Access
    from headgate.runtime.world import Made


def main(argv: Sequence[str]) -> int:
    """The exit status."""
    if asks_for_help(argv):
        print(epp_flags.help_text(), end="")
        return 0
    try:
        options = epp_flags.read(argv)
        if options.text("profile") not in PROFILES:
            raise Wrong(f"--profile: {options.text('profile')!r}: write one of {', '.join(PROFILES)}")
    except Wrong as error:
        return _complain(f"{error}\nheadgate epp --help says more", 2)
    try:
        processors.begin(options)
        from headgate.runtime import instance

        identity = processors.identity(options, options.tls)
        access = processors.access(options, needed=True)
        name = options.text("name") or f"epp-{options.pool.rpartition('/')[2] or 'picker'}"[:63]
        try:
            directory, lock = instance.claim(name)
        except instance.Unusable as error:
            raise Unusable(str(error)) from None
    except Unusable as error:
        return _complain(str(error), error.status)
    with lock:
        return _serve(options, directory, lock, identity, access)


def _complain(text: str, status: int) -> int:
    print(f"headgate epp: {text}", file=sys.stderr)
    return status


def _serve(
    options: epp_flags.Picked,
    directory: Path,
    lock: IO[str],
    identity: "Identity | None",
    access: "Access | None",
) -> int:
    import uvloop

    from headgate.runtime.accesslog import AccessLog
    from headgate.runtime.epp.picker import Picker
    from headgate.runtime.files import Files
    from headgate.runtime.policies import Policies
    from headgate.runtime.process import settle_memory
    from headgate.runtime.voice import Voice

    made = _options(options, directory)
    log_to = made.gateway.access_log
    voice = Voice(aside=log_to == "-")
    policies = Policies(voice.say)
    watched = None if access is None else _watching(options, access)

    async def run(world: "Made", log: "AccessLog | None") -> int:
        settle_memory()
        guard = processors.guard(options, access)
        guarded = None if guard is None else guard.before
        try:
            return await Picker(made, world, policies, voice, log, lock, identity, guarded).run()
        finally:
            if guard is not None:
                await guard.close()

    try:
        config, text = options.text("config-file"), options.text("config-text")
        files = Files(options.parsed.rest, policies, config=config, text=text)
        world = processors.world(files, directory, watched, voice.say)
        if world is None:
            return 1
        try:
            log = AccessLog(log_to, voice.say) if log_to else None
        except OSError as error:
            voice.say(f"--access-log {log_to}: {error.strerror or error}")
            return 1
        return uvloop.run(run(world, log))
    finally:
        voice.close()


def _watching(options: epp_flags.Picked, access: "Access") -> "Watching":
    from headgate.runtime.epp.watched import POOLS, Options
    from headgate.runtime.kubernetes.pods import selection

    selected = selection(options.namespace, options.selector) if options.selector else None
    return Options(access, POOLS, (options.namespace,), options.pool, selected)


def _options(options: epp_flags.Picked, directory: Path) -> "Options":
    from headgate.envoy.options import Options as Answering
    from headgate.envoy.options import as_it_is
    from headgate.envoy.refusals import in_text
    from headgate.plan.plan import Pool
    from headgate.proxy.plane import Bounds
    from headgate.runtime import gateway
    from headgate.runtime.epp.picker import Options

    selected = None
    if options.selector:
        selected = Pool(f"{options.namespace}/endpoints", options.namespace, options.selector, options.ports)
    return Options(
        pool=options.pool,
        selected=selected,
        directory=directory,
        gateway=gateway.Options(
            access_log="" if options.text("access-log") == "off" else options.text("access-log"),
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
        ports=processors.ports(options),
        fails=options.on("conformance"),
    )
