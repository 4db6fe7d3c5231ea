"""What the syncer's tests run against: vLLM's LoRA calls in memory, and an event loop whose clock jumps."""

import asyncio
import json
import selectors

from headgate.runtime.client import Answer, ClientError


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self):
        self.now = 1000.0
        super().__init__(Jump(self))

    def time(self):
        return self.now


class Jump(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def select(self, timeout=None):
        if timeout:
            self.loop.now += timeout
        return super().select(0)


class Vllm:
    """vLLM's LoRA calls, as facts say 0.32 answers them. `asked` is every question: (when, method and path, body)."""

    def __init__(self, replaces=True):
        self.healthy_at = 0.0
        self.adapters = {}
        self.missing = set()  # sources that are not there
        self.seconds = {}  # how long a source takes to load
        self.asked = []
        self.replaces = replaces

    async def ask(self, method, host, port, path, body, seconds):
        now = asyncio.get_running_loop().time()
        self.asked.append((now, f"{method} {path}", body))
        if now < self.healthy_at:
            raise ClientError("Connection refused")
        if path == "/health":
            return Answer(200, (), b"")
        if path == "/v1/models":
            data = [{"id": "base", "root": "base", "parent": None}]
            data += [{"id": name, "root": source, "parent": "base"} for name, source in self.adapters.items()]
            return Answer(200, (), json.dumps({"object": "list", "data": data}).encode())
        return await (self.load if path == "/v1/load_lora_adapter" else self.unload)(json.loads(body))

    async def load(self, wanted):
        name, source = wanted["lora_name"], wanted["lora_path"]
        if name in self.adapters and not (self.replaces and wanted.get("load_inplace")):
            return error(400, "InvalidUserInput", f"The lora adapter '{name}' has already been loaded. If you want")
        await asyncio.sleep(self.seconds.get(source, 0.0))
        if source in self.missing:
            return error(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {source}")
        self.adapters[name] = source
        return Answer(200, (), f"Success: LoRA adapter '{name}' added successfully.".encode())

    async def unload(self, wanted):
        if self.adapters.pop(wanted["lora_name"], None) is None:
            return error(404, "NotFoundError", f"The lora adapter '{wanted['lora_name']}' cannot be found.")
        return Answer(200, (), b"Success")

    def calls(self, verb):
        """When each load or unload was asked for, and for which adapter."""
        return [(when, json.loads(body)["lora_name"]) for when, path, body in self.asked if f"/{verb}_lora" in path]


def error(status, kind, message):
    return Answer(status, (), json.dumps({"error": {"message": message, "type": kind, "code": status}}).encode())
