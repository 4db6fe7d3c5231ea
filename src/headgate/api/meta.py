"""What every object has: where it was written, what it is called, and what was wrong with it."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Where(Struct, frozen=True):
    """A place in what the user wrote; `line` counts from 1, 0 where there is none."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Problem(Struct, frozen=True):
    """One mistake: what is wrong, where, and what to write instead.

    `error`: the object is left out (or stays as it was before the edit). `warning`: it is used, with the reading said.
    `note`: nothing is wrong, but something in it has no effect here.
    """

    where: Where
    field: str
    message: str
    severity: Literal["error", "warning", "note"] = "error"
    object: str = ""  # "Kind namespace/name", "" where the text is no object yet

    def __str__(self) -> str:
        place = f"{self.where}: {self.field}: " if self.field else f"{self.where}: "
        return place + self.message


class Meta(Struct, frozen=True):
    """ObjectMeta, the part of it that means something to us."""

    name: str
    namespace: str = "default"
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    generation: int = 1
    created: str = ""  # creationTimestamp, RFC 3339, "" when it was not given
    where: Where = Where()

    @property
    def key(self) -> str:
        """`namespace/name`, the name of an object among those of its kind; `name` where the kind has no namespaces."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
