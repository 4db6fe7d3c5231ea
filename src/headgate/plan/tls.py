"""TLS in the plan: what listeners show to clients and ask of them, and what endpoints must show to the gateway."""

from datetime import datetime

from msgspec import Struct

from headgate.plan.sealed import Sealed


class Certificate(Struct, frozen=True, omit_defaults=True):
    """A certificate of the gateway's. `pem` is its chain, the certificate itself first, and its private key."""

    name: str  # namespace/name of where it was read
    names: tuple[str, ...]  # DNS names that it is for, lower case, `*.x` one label below x
    not_after: datetime
    fingerprint: str  # SHA-256, hex
    pem: Sealed


class Authorities(Struct, frozen=True):
    """Certificates that are trusted to sign others."""

    names: tuple[str, ...]  # namespace/name of where they were read
    fingerprints: tuple[str, ...]
    pem: Sealed


class Termination(Struct, frozen=True, omit_defaults=True):
    """TLS with clients. Of the certificates the one is shown that is for the name which the client asks for."""

    certificates: tuple[Certificate, ...]
    clients: Authorities | None = None  # who must have signed a client's certificate; None: clients need none


class Origination(Struct, frozen=True, omit_defaults=True):
    """TLS with endpoints. `name` is another one whenever anything else is: connections of one name are all alike.

    The certificate must be for `hostname`, or where `alt_names` (DNS names) or `uris` are given, for one of those.
    """

    name: str
    hostname: str  # asked for by SNI
    authorities: Authorities | None = None  # None: those that the system trusts
    alt_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    fault: str = ""  # why no connection may be made, "" when it may
