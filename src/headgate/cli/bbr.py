"""`headgate bbr`: from a command line to body-based routing that runs."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from headgate.cli import processors
from headgate.cli.epp_flags import BODIES, PPROF, TRACING, ZAP
from headgate.cli.go_flags import Flag, Options, Wrong, asks_for_help, parse, usage
from headgate.cli.processors import Unusable

if TYPE_CHECKING:
    from headgate.envoy.fields import Plugin
    from headgate.runtime.epp.identity import Identity
    from headgate.runtime.kubernetes.access import Access
    from headgate.runtime.world import Made

_FLAGS = (
    Flag("plugin", (), "TYPE:NAME[:JSON], may be given again: body-field-to-header with {\"fieldName\": …, "
         "\"headerName\": …}, or base-model-to-header (default: the model, and its base model, into "
         "X-Gateway-Model-Name and X-Gateway-Base-Model-Name)", "PLUGIN", whole=True),
    Flag("namespace", (), "read ConfigMaps of these namespaces only (default: $NAMESPACE, else all)", "NAMESPACE,…"),
    Flag("kubernetes", False, "read ConfigMaps from the cluster (so it is in a Pod)"),
    Flag("kubeconfig", "", "how to reach it (default: $KUBECONFIG, our Pod's service account, ~/.kube/config)", "FILE"),
    Flag("error-body", "text", "how refusals are written: text, as published, or openai", "|".join(BODIES)),
    Flag("address", "", "where to listen (default: everywhere)", "HOST"),
    Flag("grpc-port", 9004, "of ext_proc"),
    Flag("grpc-health-port", 9005, "of grpc.health.v1, without TLS; 0: none beside that on the other port"),
    Flag("metrics-port", 9090, "of Prometheus metrics; 0: none"),
    Flag("metrics-endpoint-auth", True, "in a cluster: show metrics to those only who may read them"),
    Flag("secure-serving", True, "speak TLS"),
    Flag("cert-path", "", "a directory with tls.crt and tls.key, which are followed (default: one of its own)", "DIR"),
    Flag("enable-cert-reload", True, "follow them"),
    Flag("drain-timeout", 30.0, "after SIGTERM: how long it goes on serving, while it says that it wants no more"),
    Flag("body-limit", 64, "the largest request body, in MiB"),
    Flag("held-limit", 1024, "bodies that are held for all requests together, in MiB; beyond it new ones get 503"),
    Flag("reuse-port", False, "several processes share the ports but for the metrics': give each a --name and a "
         "--metrics-port of its own"),
    Flag("name", "bbr", "which instance, where several run on one machine", "NAME"),
)  # fmt: skip
_UNHEEDED = {
    **ZAP,
    "enable-pprof": PPROF,
    "streaming": "is not needed: the proxy says how it sends bodies",
    "tracing": TRACING,
}
_TYPES = ("body-field-to-header", "base-model-to-header")
_MORE = """\
Base models are those of ConfigMaps with the label inference.networking.k8s.io/bbr-managed: "true", from files or from
the cluster.

examples:
  headgate bbr                                               in a Pod; or anywhere, without base models
  headgate bbr --secure-serving=false config-maps/           base models from files
  headgate bbr --plugin 'body-field-to-header:user:{"fieldName": "user", "headerName": "X-User"}'

docs/ext-proc.md says how a proxy is configured. Exit status: 0 stopped by a signal, 1 it could not serve, 2 the command
line can't be understood.
"""


def main(argv: Sequence[str]) -> int:
    """The exit status."""
    if asks_for_help(argv):
        what = "Copy the model that a JSON body names into a header, before the proxy looks for a route: by ext_proc."
        print(usage("bbr", what, "[FILE or DIRECTORY ...]", _FLAGS, _MORE), end="")
        return 0
    try:
        options = Options(parse(argv, _FLAGS, _UNHEEDED, {}))
        if options.text("error-body") not in BODIES:
            raise Wrong(f"--error-body: {options.text('error-body')!r}: write {' or '.join(BODIES)}")
        plugins = _plugins(options.texts("plugin"))
    except Wrong as error:
        return _complain(f"{error}\nheadgate bbr --help says more", 2)
    try:
        processors.begin(options)
        from headgate.runtime import instance

        identity = processors.identity(options, "1.2")
        access = processors.access(options, needed=False)
        try:
            directory, lock = instance.claim(options.text("name"))
        except instance.Unusable as error:
            raise Unusable(str(error)) from None
    except Unusable as error:
        return _complain(str(error), error.status)
    with lock:
        return _serve(options, plugins, directory, lock, identity, access)


def _complain(text: str, status: int) -> int:
    print(f"headgate bbr: {text}", file=sys.stderr)
    return status


def _plugins(written: Sequence[str]) -> "tuple[Plugin, ...]":
    """Those that are given take the place of the usual ones. Raises Wrong."""
    from headgate.envoy.fields import USUAL

    return tuple(map(_plugin, written)) or USUAL


def _plugin(text: str) -> "Plugin":
    from headgate.envoy.fields import BaseModel, Field

    kind, _, rest = text.partition(":")
    name, colon, parameters = rest.partition(":")
    if kind not in _TYPES or not name:
        raise Wrong(f"--plugin {text!r}: write TYPE:NAME or TYPE:NAME:JSON, and as the type {' or '.join(_TYPES)}")
    try:
        found = json.loads(parameters) if colon else {}
    except ValueError as error:
        raise Wrong(f"--plugin {text!r}: its parameters are no JSON: {error}") from None
    known = ("fieldName", "headerName") if kind == _TYPES[0] else ()
    if not isinstance(found, dict) or not set(found) <= set(known):
        raise Wrong(f"--plugin {text!r}: its parameters must be an object of {', '.join(known) or 'nothing'}")
    if kind == _TYPES[1]:
        return BaseModel(name)
    field, header = found.get("fieldName"), found.get("headerName")
    if not (isinstance(field, str) and field and isinstance(header, str) and _is_header(header)):
        raise Wrong(f"--plugin {text!r}: fieldName and headerName must be there, the latter a header's name")
    return Field(name, field, header)


def _is_header(name: str) -> bool:
    return bool(name) and name.isascii() and all(one.isalnum() or one in "!#$%&'*+-.^_`|~" for one in name)


def _serve(
    options: Options,
    plugins: "tuple[Plugin, ...]",
    directory: Path,
    lock: IO[str],
    identity: "Identity | None",
    access: "Access | None",
) -> int:
    import os

    import uvloop

    from headgate.envoy.options import as_it_is
    from headgate.envoy.refusals import in_text
    from headgate.runtime.epp.body_router import BodyRouter
    from headgate.runtime.epp.watched import BASE_MODELS
    from headgate.runtime.epp.watched import Options as Watching
    from headgate.runtime.files import Files
    from headgate.runtime.policies import Policies
    from headgate.runtime.process import settle_memory
    from headgate.runtime.voice import Voice

    voice = Voice()
    own = os.environ.get("NAMESPACE", "")
    watched = None
    if access is not None:
        watched = Watching(access, BASE_MODELS, options.texts("namespace") or ((own,) if own else ()))
    limits = options.number("body-limit") << 20, options.number("held-limit") << 20
    written = in_text if options.text("error-body") == "text" else as_it_is

    async def run(world: "Made") -> int:
        settle_memory()
        guard = processors.guard(options, access)
        guarded = None if guard is None else guard.before
        router = BodyRouter(
            plugins, processors.ports(options), *limits, written, world, directory, voice.say, identity,
            guarded,
        )  # fmt: skip
        try:
            return await router.run()
        finally:
            if guard is not None:
                await guard.close()

    try:
        files = Files(options.parsed.rest, Policies(voice.say, run=False))
        world = processors.world(files, directory, watched, voice.say)
        return 1 if world is None else uvloop.run(run(world))
    finally:
        voice.close()
