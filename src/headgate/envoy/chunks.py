"""A body on its way back to the proxy: in pieces that its gRPC takes."""

from headgate.envoy.messages import Phase, Piece

BYTES = 62_000  # of a piece at most, as published pickers do


def pieces(phase: Phase, body: bytes, *, end: bool) -> list[Piece]:
    """At least one where it ends; the last one says so."""
    if len(body) <= BYTES:
        return [Piece(phase, body, end)] if body or end else []
    last = len(body) - 1
    return [Piece(phase, body[at : at + BYTES], end and at + BYTES > last) for at in range(0, len(body), BYTES)]
