"""TLS contexts for the plan in force, each made once: a certificate that stays keeps its sessions, too."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import TypeVar

from headgate.plan.plan import Listener, Plan
from headgate.plan.tls import Authorities, Certificate, Origination
from headgate.proxy.connect import connect
from headgate.proxy.contexts import Trust, Untrusted, server_context, trust, why_unfit
from headgate.proxy.entrance import Identity
from headgate.runtime.client import ClientError

P = TypeVar("P", bound=asyncio.Protocol)
_Key = tuple[Certificate, Authorities | None]
_Made = tuple[dict[_Key, ssl.SSLContext], dict[str, Trust], list[str]]


class Contexts:
    """`trusts` is one mapping, by the names that pools give; `say` is told what OpenSSL does not take.

    The plan holds nothing that it does not take (`runtime.certificates`), unless OpenSSL changes its mind.
    """

    def __init__(self, trusts: dict[str, Trust], say: Callable[[str], None]) -> None:
        self._trusts = trusts
        self._say = say
        self._servers: dict[_Key, ssl.SSLContext] = {}

    async def ready(self, plan: Plan) -> Callable[[], None]:
        """Make what the plan needs and is not there yet; calling the result puts it in force, and drops the rest.

        In a thread: to read all authorities that the system trusts takes 50 ms.
        """
        keys = {key for listener in plan.listeners for key in _keys(listener)}
        wanted = {pool.tls.name: pool.tls for pool in plan.pools.values() if pool.tls is not None}
        new_keys = [key for key in keys if key not in self._servers]
        new_trusts = [one for name, one in wanted.items() if name not in self._trusts]
        made: _Made = ({}, {}, [])
        if new_keys or new_trusts:
            made = await asyncio.to_thread(_make, new_keys, new_trusts)

        def use() -> None:
            servers, trusts, faults = made
            self._servers = {key: one for key, one in (self._servers | servers).items() if key in keys}
            for name in self._trusts.keys() - wanted.keys():
                del self._trusts[name]
            self._trusts.update(trusts)
            for fault in faults:
                self._say(fault)

        return use

    async def connect(self, factory: Callable[[], P], host: str, port: int, tls: str) -> P:
        """For what the gateway itself asks of endpoints (`client.Connect`)."""
        known_by = self._trusts.get(tls)
        if tls and known_by is None:
            raise ClientError("what to know it by has just changed")
        try:
            return await connect(factory, host, port, known_by)
        except Untrusted as error:
            raise ClientError(str(error)) from None

    def identities(self, listener: Listener) -> tuple[Identity, ...]:
        """Those that a listener of the plan can show."""
        shown = [(key[0].names, self._servers[key]) for key in _keys(listener) if key in self._servers]
        return tuple(Identity(names, context) for names, context in shown)


def _keys(listener: Listener) -> Sequence[_Key]:
    if listener.tls is None:
        return ()
    return [(certificate, listener.tls.clients) for certificate in listener.tls.certificates]


def _make(keys: Sequence[_Key], originations: Sequence[Origination]) -> _Made:
    servers: dict[_Key, ssl.SSLContext] = {}
    trusts: dict[str, Trust] = {}
    faults: list[str] = []
    for certificate, clients in keys:
        try:
            servers[certificate, clients] = server_context(certificate, clients)
        except (OSError, ValueError) as error:
            faults.append(f"The certificate of {certificate.name} can't be used: {why_unfit(error)}")
    for one in originations:
        try:
            trusts[one.name] = trust(one)
        except (OSError, ValueError) as error:
            faults.append(f"No endpoint of {one.name} can be trusted: {why_unfit(error)}")
            trusts[one.name] = Trust(one.hostname, None, fault=why_unfit(error))
    return servers, trusts, faults
