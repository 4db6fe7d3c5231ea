"""API keys: which clients may ask, and by which keys they are known."""

import hashlib
from collections.abc import Iterable, Mapping

from msgspec import Struct

from headgate.plan.sealed import Sealed

HEADERS = ("authorization", "x-api-key", "api-key")  # OpenAI's clients, Anthropic's, Azure's
_SIZE = 32  # bytes of a digest


class Keys(Struct, frozen=True, omit_defaults=True):
    """`clients` has a name for each key; a client with two keys stands there twice.

    A key is taken from any of `headers` (lower case), which are not passed on to the servers.
    """

    clients: tuple[str, ...]
    digests: Sealed  # of the keys, SHA-256, in the order of `clients`
    headers: tuple[str, ...] = HEADERS
    names_client_in: str = ""  # header that tells the servers whose key it was, "" for none

    def by_digest(self) -> Mapping[bytes, str]:
        digests = self.digests.content
        return {digests[n * _SIZE : (n + 1) * _SIZE]: client for n, client in enumerate(self.clients)}


def digest(key: bytes) -> bytes:
    """Keys have so many bits of chance that nobody finds one by its digest: it needs no salt, and no slow hash."""
    return hashlib.sha256(key).digest()


def keys(
    of_clients: Iterable[tuple[str, bytes]], headers: tuple[str, ...] = HEADERS, names_client_in: str = ""
) -> Keys:
    """From pairs of a client's name and its key."""
    pairs = tuple(of_clients)
    clients = tuple(client for client, _ in pairs)
    return Keys(clients, Sealed(b"".join(digest(key) for _, key in pairs)), headers, names_client_in)
