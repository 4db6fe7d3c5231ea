"""What is referred to as a certificate, or as authorities: what is worth trying by whoever can load certificates."""

from collections.abc import Iterator

from headgate.api.snapshot import Snapshot
from headgate.plan.certificates import BUNDLE, CHAIN
from headgate.plan.lookup import Tried
from headgate.plan.termination import validations


def references(snapshot: Snapshot) -> frozenset[Tried]:
    """Whether or not there is such an object, and whether or not it may be referred to."""
    return frozenset(_references(snapshot))


def _references(snapshot: Snapshot) -> Iterator[Tried]:
    for gateway in snapshot.gateways:
        home = gateway.meta.namespace
        for listener in gateway.listeners:
            for ref in listener.tls.certificate_refs if listener.tls else ():
                yield CHAIN, ref.kind, f"{ref.namespace or home}/{ref.name}"
        for _, validation in validations(gateway):
            for authority in validation.ca_certificate_refs if validation else ():
                yield BUNDLE, authority.kind, f"{authority.namespace or home}/{authority.name}"
    for policy in snapshot.tls_policies:
        for local in policy.validation.ca_certificate_refs:
            yield BUNDLE, local.kind, f"{policy.meta.namespace}/{local.name}"
