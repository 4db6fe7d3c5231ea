"""Rules of SecurityPolicy (its CRD's CEL rules), and of the annotation that asks for API keys.

What can't be served is warned of, and no error: an object with an error is left out, and its targets would be open.
"""

import re
from collections.abc import Iterator

from headgate.api.fault import Fault, Path
from headgate.api.gateway import API_KEYS, named_secrets
from headgate.api.meta import Meta
from headgate.api.security import ApiKeyAuth
from headgate.api.written.metadata import Spec
from headgate.api.written.security import SecuritySpec

_UNSERVED = "not served here, no request is checked for it: remove it, or keep something before the gateway that does"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def security(_: Meta, written: Spec[SecuritySpec]) -> Iterator[Fault]:
    spec = written.spec
    if not (spec.target_ref or spec.target_refs or spec.target_selectors):
        yield Fault(("spec", "targetRefs"), "missing: write the group, kind and name of a Gateway or an HTTPRoute")
    if spec.target_selectors:
        message = "targets are not found by their labels here: write them in targetRefs"
        yield Fault(("spec", "targetSelectors"), message, "warning")
    for name in spec.others:
        message = "write it as a filter of type CORS in the HTTPRoute" if name == "cors" else _UNSERVED
        yield Fault(("spec", name), message, "warning")
    if spec.api_key_auth:
        yield from _keys(spec.api_key_auth, ("spec", "apiKeyAuth"))


def _keys(keys: ApiKeyAuth, path: Path) -> Iterator[Fault]:
    for i, source in enumerate(keys.extract_from):
        for name, values in (("params", source.params), ("cookies", source.cookies)):
            if values:
                message = "keys are taken from headers only, so that none gets into a log: write `headers`"
                yield Fault((*path, "extractFrom", i, name), message, "warning")


def annotated(meta: Meta) -> Iterator[Fault]:
    """Of a Gateway."""
    if API_KEYS not in meta.annotations:
        return
    names = named_secrets(meta)
    bad = next((name for name in names if len(name) > 253 or not _NAME.fullmatch(name)), None)
    if bad is not None or not names:
        message = "this names no Secrets: write their names in this namespace, such as team-a,team-b"  # it may be a key
        yield Fault(("metadata", "annotations", API_KEYS), message)
