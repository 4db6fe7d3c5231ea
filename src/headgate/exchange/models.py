"""GET /v1/models, answered here: the union of what is reachable, in the form of the servers' own answers."""

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from headgate.exchange.events import Respond
from headgate.exchange.refuse import JSON, refuse
from headgate.fleet.endpoint import Served

PATH = "/v1/models"
_NAMED = 20  # models named in a refusal


def answer_models(path: str, models: Mapping[str, Served], started: int) -> Respond:
    """`path` is /v1/models or below; `started` (Unix seconds) stands for `created`, which servers do not agree on."""
    if path.rstrip("/") == PATH:
        data = [_card(served, started) for served in models.values()]
        return Respond(200, JSON, msgspec.json.encode({"object": "list", "data": data}))
    name = unquote(path[len(PATH) + 1 :])
    if name not in models:
        return unknown_model(name, models)
    return Respond(200, JSON, msgspec.json.encode(_card(models[name], started)))


def unknown_model(name: str, models: Mapping[str, Served]) -> Respond:
    """404 that names what is served."""
    names = sorted(models)
    known = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    message = f"The model `{name}` does not exist. " + (
        f"Served here: {known}." if known else "No model is served here."
    )
    return refuse(404, message, code="model_not_found", param="model")


def _card(served: Served, started: int) -> dict[str, object]:
    card: dict[str, object] = {
        "id": served.id,
        "object": "model",
        "created": started,
        "owned_by": "headgate",
        "root": served.root or served.id,
        "parent": served.parent,
    }
    if served.max_model_len is not None:
        card["max_model_len"] = served.max_model_len
    return card
