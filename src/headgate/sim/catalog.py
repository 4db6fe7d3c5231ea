"""The models that a server serves: its base under its names, and the adapters loaded on it."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from headgate.sim.refusals import Refusal


class Loaded(Struct, frozen=True):
    """An adapter, by the path that it was loaded from and the base that it was loaded for."""

    name: str
    path: str
    base: str


class Catalog:
    """`names` the base is served by, the first of which answers give; `root` is where its weights are."""

    def __init__(self, names: tuple[str, ...], root: str, context: int) -> None:
        self.names = names
        self.root = root
        self.context = context
        self.adapters: dict[str, Loaded] = {}
        self._numbers: dict[str, int] = {}

    def find(self, name: str | None) -> str | None:
        """The name that answers give for a request to `name`, None when nobody here has it. The base answers to
        none.
        """
        if not name or name in self.names:
            return self.names[0]
        return name if name in self.adapters else None

    def load(self, name: str, path: str, base: str = "", *, again: bool = False) -> Refusal | None:
        """Add an adapter whose weights are there."""
        refusal = self.refuse(name, path, again=again)
        if refusal is None:
            self.adapters[name] = Loaded(name, path, base or self.names[0])
        return refusal

    def refuse(self, name: str, path: str, *, again: bool = False) -> Refusal | None:
        """Why an adapter can't be loaded under this name."""
        if not name or not path:
            return Refusal(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.")
        if name in self.names:
            message = f"The lora adapter '{name}' conflicts with a served base model."
            return Refusal(400, "InvalidUserInput", message)
        if name in self.adapters and not again:
            message = (
                f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, "
                "set 'load_inplace' to True."
            )
            return Refusal(400, "InvalidUserInput", message)
        return None

    def unload(self, name: str) -> Refusal | None:
        """Remove an adapter."""
        if not name:
            message = "'lora_name' needs to be provided to unload a LoRA adapter."
            return Refusal(400, "InvalidUserInput", message)
        if name not in self.adapters:
            return Refusal(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        del self.adapters[name]
        return None

    def number(self, name: str) -> int:
        """An adapter's id, counted from 1 in the order in which adapters were used first."""
        return self._numbers.setdefault(name, len(self._numbers) + 1)

    def cards(self, created: int, new_id: Callable[[], str]) -> dict[str, Any]:
        """What /v1/models answers."""
        cards = [_card(name, self.root, None, self.context, created, new_id) for name in self.names]
        cards += [
            _card(adapter.name, adapter.path, adapter.base, None, created, new_id) for adapter in self.adapters.values()
        ]
        return {"object": "list", "data": cards}


def missing(name: str, path: str) -> Refusal:
    """The answer to loading an adapter that is nowhere."""
    return Refusal(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}")


def _card(
    name: str, root: str, parent: str | None, context: int | None, created: int, new_id: Callable[[], str]
) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": context,
        "permission": [
            {
                "id": f"modelperm-{new_id()}",
                "object": "model_permission",
                "created": created,
                "allow_create_engine": False,
                "allow_sampling": True,
                "allow_logprobs": True,
                "allow_search_indices": False,
                "allow_view": True,
                "allow_fine_tuning": False,
                "organization": "*",
                "group": None,
                "is_blocking": False,
            }
        ],
    }
