"""What body-based routing makes of a body: its plugins, as data.

Source: Inference Extension v1.5, pkg/bbr/plugins.
"""

from msgspec import Struct

MODEL, BASE = "X-Gateway-Model-Name", "X-Gateway-Base-Model-Name"


class Field(Struct, frozen=True):
    """body-field-to-header: the value of the body's `field` becomes the header `header`."""

    name: str
    field: str
    header: str


class BaseModel(Struct, frozen=True):
    """base-model-to-header: the base model of what `X-Gateway-Model-Name` says; "" where nobody knows it."""

    name: str
    header: str = BASE


Plugin = Field | BaseModel
USUAL: tuple[Plugin, ...] = (Field("body-field-to-header", "model", MODEL), BaseModel("base-model-to-header"))
