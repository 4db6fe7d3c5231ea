"""Rules of session persistence and retries (gateway.networking.k8s.io_httproutes.yaml; RFC 6265 §4.1.1)."""

import re
from collections.abc import Iterator

from headgate.api.fault import Fault, Path, shown
from headgate.api.formats import seconds
from headgate.api.gateway import RouteRetry, SessionPersistence
from headgate.api.rules.sameness import repeated

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_COOKIE_PATH = re.compile(r"/[ -:<-~]*")


def session(written: SessionPersistence, path: Path) -> Iterator[Fault]:
    for name, member in (("cookie", written.cookie), ("cookieConfig", written.cookie_config)):
        if member is not None and written.type != "Cookie":
            yield Fault((*path, name), f"does not go with type {written.type}: remove it, or write `type: Cookie`")
    if written.header is not None and written.type != "Header":
        yield Fault((*path, "header"), "does not go with type Cookie: remove it, or write `type: Header`")
    if written.cookie is not None and written.cookie_config is not None:
        yield Fault((*path, "cookieConfig"), "`cookie` says it too: remove this one, which is the older form")
    yield from _name(written, path)
    yield from _lifetime(written, path)
    if written.cookie is not None and not _COOKIE_PATH.fullmatch(written.cookie.path):
        message = f"{shown(written.cookie.path)} is no path of a cookie: write one that begins with '/', without ';'"
        yield Fault((*path, "cookie", "path"), message)


def _name(written: SessionPersistence, path: Path) -> Iterator[Fault]:
    if not written.session_name:
        return
    if (written.cookie is not None and written.cookie.name) or written.header is not None:
        member = "header" if written.header is not None else "cookie"
        yield Fault((*path, "sessionName"), f"`{member}` has a name too: remove this one, which is the older form")
    elif not _TOKEN.fullmatch(written.session_name):
        message = f"{shown(written.session_name)} is no name of a cookie or header: write letters, digits and '-'"
        yield Fault((*path, "sessionName"), message)


def _lifetime(written: SessionPersistence, path: Path) -> Iterator[Fault]:
    if not written.permanent:
        return
    if not written.absolute_timeout:
        yield Fault((*path, "absoluteTimeout"), "missing: write how long a Permanent cookie lasts, such as 24h")
    elif not seconds(written.absolute_timeout):
        message = "a Permanent cookie of no time is none: write how long it lasts, or it is one of type Session"
        yield Fault((*path, "absoluteTimeout"), message, "warning")


def retry(written: RouteRetry, path: Path) -> Iterator[Fault]:
    yield from repeated(written.codes, (*path, "codes"), (), "{value} stands at {first} already: remove one")
