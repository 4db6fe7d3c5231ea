"""RequestMirror filters: where copies of requests go (Gateway API: HTTPRequestMirrorFilter)."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from headgate.api.gateway import BackendRef, RequestMirror, RouteFilter
from headgate.plan.backends import Resolved, resolve
from headgate.plan.lookup import Lookup
from headgate.plan.plan import Mirror


class Mirrored(Struct, frozen=True):
    """The mirrors of one rule (or one backend), and every reference of theirs, followed.

    A reference that leads nowhere makes no mirror: the requests themselves are served.
    """

    mirrors: tuple[Mirror, ...]
    resolved: tuple[Resolved, ...]


def follow(filters: Iterable[RouteFilter], place: str, namespace: str, look: Lookup) -> Mirrored:
    mirrors: list[Mirror] = []
    resolved: list[Resolved] = []
    for index, one in enumerate(filters):
        if one.type != "RequestMirror" or one.request_mirror is None:
            continue
        ref = one.request_mirror.backend_ref
        to = resolve(BackendRef(ref.name, ref.group, ref.kind, ref.namespace, ref.port), namespace, look)
        if to.fault is not None:
            told = f"{place}.filters[{index}]: {to.fault.message}"
            to = replace(to, fault=replace(to.fault, message=told))
        resolved.append(to)
        share = _share(one.request_mirror)
        if to.name is not None and share > 0:
            mirrors.append(Mirror(to.name, share))
    return Mirrored(tuple(mirrors), tuple(resolved))


def _share(mirror: RequestMirror) -> float:
    if mirror.fraction is not None:
        return mirror.fraction.numerator / mirror.fraction.denominator
    return 1.0 if mirror.percent is None else mirror.percent / 100
