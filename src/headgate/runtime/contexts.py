"""TLS contexts for the plan in force, each made once: a certificate that stays keeps its sessions, too."""

import ssl
from collections.abc import Callable, Sequence

from headgate.plan.plan import Listener, Plan
from headgate.plan.tls import Authorities, Certificate
from headgate.proxy.contexts import Trust, server_context, trust, why_unfit
from headgate.proxy.entrance import Identity

_Key = tuple[Certificate, Authorities | None]


class Contexts:
    """`trusts` is one mapping, by the names that pools give; `say` is told what OpenSSL does not take.

    The plan holds nothing that it does not take (`runtime.certificates`), unless OpenSSL changes its mind.
    """

    def __init__(self, trusts: dict[str, Trust], say: Callable[[str], None]) -> None:
        self._trusts = trusts
        self._say = say
        self._servers: dict[_Key, ssl.SSLContext] = {}

    def plan(self, plan: Plan) -> None:
        """Have what the plan needs, and nothing else."""
        before, self._servers = self._servers, {}
        for listener in plan.listeners:
            for key in _keys(listener):
                context = before.get(key) or self._server(*key)
                if context is not None:
                    self._servers[key] = context
        wanted = {pool.tls.name: pool.tls for pool in plan.pools.values() if pool.tls is not None}
        for name in self._trusts.keys() - wanted.keys():
            del self._trusts[name]
        for name, origination in wanted.items():
            if name not in self._trusts:
                try:
                    self._trusts[name] = trust(origination)
                except (OSError, ValueError) as error:
                    self._say(f"No endpoint of {name} can be trusted: {why_unfit(error)}")
                    self._trusts[name] = Trust(origination.hostname, None, fault=why_unfit(error))

    def identities(self, listener: Listener) -> tuple[Identity, ...]:
        """Those that a listener of the plan can show."""
        shown = [(key[0].names, self._servers[key]) for key in _keys(listener) if key in self._servers]
        return tuple(Identity(names, context) for names, context in shown)

    def _server(self, certificate: Certificate, clients: Authorities | None) -> ssl.SSLContext | None:
        try:
            return server_context(certificate, clients)
        except (OSError, ValueError) as error:
            self._say(f"The certificate of {certificate.name} can't be used: {why_unfit(error)}")
            return None


def _keys(listener: Listener) -> Sequence[_Key]:
    if listener.tls is None:
        return ()
    return [(certificate, listener.tls.clients) for certificate in listener.tls.certificates]
