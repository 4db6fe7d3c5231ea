"""What is used and never shown."""


class Sealed:
    """Bytes that are used and never shown: neither a repr nor an encoder lets them out."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)

    def __repr__(self) -> str:
        return "Sealed()"
