"""What a proxy tells an external processor, and what it is told: the vocabulary of ext_proc, without its protobufs.

Of one HTTP request the messages come in this order, as far as the proxy is configured to send them:

    request_headers, request_body…, request_trailers, response_headers, response_body…, response_trailers

Source: envoy.service.ext_proc.v3, envoy.extensions.filters.http.ext_proc.v3.ProcessingMode.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from headgate.exchange.events import Headers

Phase = Literal[
    "request_headers",
    "response_headers",
    "request_body",
    "response_body",
    "request_trailers",
    "response_trailers",
]

# ProcessingMode.BodySendMode.
NONE, STREAMED, BUFFERED, BUFFERED_PARTIAL, FULL_DUPLEX, GRPC = range(6)
GATHERED = (FULL_DUPLEX, BUFFERED, BUFFERED_PARTIAL)  # in which a body is here before its head goes on
RETURNED = (FULL_DUPLEX, STREAMED, BUFFERED)  # in which all of an answer can be changed


class Disorder(Exception):
    """Messages come in an order that there is not, or say what can't be."""


class Modes(Struct, frozen=True, gc=False):
    """How the proxy sends bodies. The protocol asks for full duplex; proxies that say nothing do that."""

    request: int = FULL_DUPLEX
    response: int = FULL_DUPLEX


class About(Struct, frozen=True):
    """What came with a message besides.

    `modes` with the first one only, None where the proxy does not say; `subset` are the endpoints that it can reach
    (`ip` or `ip:port`), None for any; `served` is the endpoint that it used, `ip:port`, "" as long as it does not say.
    """

    modes: Modes | None = None
    subset: frozenset[str] | None = None
    served: str = ""
    attributes: Mapping[str, str] = {}


NOTHING = About()


class Message(Struct, frozen=True, gc=False):
    """`headers` are also trailers; names in lower case, pseudo-headers too. `end`: nothing follows this way."""

    phase: Phase
    headers: Headers = []
    data: bytes = b""
    end: bool = False
    about: About = NOTHING


class Mutation(Struct, frozen=True, gc=False):
    """Headers that are set in place of what is there under their names, and names that are taken away."""

    set: Headers = []
    remove: Sequence[bytes] = ()


UNCHANGED = Mutation()


class Override(Struct, frozen=True, gc=False):
    """What the proxy shall send of the rest: bodies by mode, heads and trailers or not."""

    request: int
    response: int
    response_headers: bool = True
    trailers: bool = True


class Proceed(Struct, frozen=True, gc=False):
    """The proxy goes on. `body` takes the place of what it sent, None leaves it. `metadata` is for the namespace
    `envoy.lb`. `reroute`: routes are matched again.
    """

    phase: Phase
    mutation: Mutation = UNCHANGED
    body: bytes | None = None
    metadata: Mapping[str, str] = {}
    reroute: bool = False
    override: Override | None = None


class Piece(Struct, frozen=True, gc=False):
    """A piece of a body in full duplex: nothing else of the body goes on than such pieces."""

    phase: Phase
    data: bytes
    end: bool


class Immediate(Struct, frozen=True, gc=False):
    """The client is answered from here, and nothing more is told."""

    status: int
    headers: Headers
    body: bytes
    details: str = ""


Answer = Proceed | Piece | Immediate
