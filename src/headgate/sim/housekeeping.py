"""What the routes answer that generate nothing: adapters, models, health, metrics."""

from urllib.parse import parse_qs

from msgspec import to_builtins
from msgspec.structs import replace

from headgate.sim import bodies, requests
from headgate.sim.bodies import Ask
from headgate.sim.catalog import missing
from headgate.sim.exposition import only
from headgate.sim.job import VERSION
from headgate.sim.refusals import Refusal, Reply, openai, reply
from headgate.sim.service import Answered, Service


def load_adapter(service: Service, ask: Ask, now: float) -> Answered:
    fields = bodies.read(ask, requests.LOAD_ADAPTER)
    if isinstance(fields, Refusal):
        return openai(fields)
    name, path = fields["lora_name"], fields["lora_path"]
    refusal = _load(service, name, path, again=bool(fields.get("load_inplace")))
    if refusal is not None:
        return openai(refusal)
    return _loaded(service, f"Success: LoRA adapter '{name}' added successfully.")


def _load(service: Service, name: str, path: str, *, again: bool = False) -> Refusal | None:
    refusal = service.catalog.refuse(name, path, again=again)
    # A name on a hub is taken for one that can be had; what looks like a path must be there.
    if refusal is None and path[:1] in ("/", ".", "~") and not service.exists(path):
        refusal = missing(name, path)
    if refusal is None:
        service.catalog.load(name, path, again=again)
        service.engine.adapters.load(name)
    return refusal


def _loaded(service: Service, text: str) -> Reply:
    return Reply(200, (), text.encode(), after=service.settings.config.cost.adapter_load)


def unload_adapter(service: Service, ask: Ask, now: float) -> Answered:
    fields = bodies.read(ask, requests.UNLOAD_ADAPTER)
    if isinstance(fields, Refusal):
        return openai(fields)
    name = fields["lora_name"]
    refusal = service.catalog.unload(name)
    if refusal is not None:
        return openai(refusal)
    service.engine.adapters.forget(name)
    return Reply(200, (), f"Success: LoRA adapter '{name}' removed successfully.".encode())


def register_adapter(service: Service, ask: Ask, now: float) -> Answered:
    content = bodies.parse(ask)
    if isinstance(content, Refusal):
        return openai(content)
    absent = [name for name in ("name", "src") if name not in content]
    if absent:
        entry = '{{"type":"missing","loc":["{}"],"msg":"Field required","input":{{}}}}'
        message = "[" + ",".join(entry.format(name) for name in absent) + "]"
        return openai(Refusal(400, "Bad Request", message))
    refusal = _load(service, str(content["name"]), str(content["src"]))
    if refusal is not None:
        return openai(refusal)
    return _loaded(service, f"Adapter {content['name']} registered")


def unregister_adapter(service: Service, ask: Ask, now: float) -> Answered:
    name = ask.path.split("/", 2)[2]
    refusal = service.catalog.unload(name)
    if refusal is not None:
        return openai(refusal)
    service.engine.adapters.forget(name)
    return Reply(200, (), f"Adapter {name} unregistered".encode())


def models(service: Service, ask: Ask, now: float) -> Answered:
    return reply(200, service.catalog.cards(int(now), service.new_id))


def healthy(service: Service, ask: Ask, now: float) -> Answered:
    return Reply(200, (), b"")


def version(service: Service, ask: Ask, now: float) -> Answered:
    return reply(200, {"version": VERSION})


def server_load(service: Service, ask: Ask, now: float) -> Answered:
    return reply(200, {"server_load": 0})  # counts only with --enable-server-load-tracking


def kv_event_sources(service: Service, ask: Ask, now: float) -> Answered:
    config = service.settings.kv_events
    return reply(200, {"0": to_builtins(replace(config, publisher="zmq"))} if config.publishes else {})


def reset_prefix_cache(service: Service, ask: Ask, now: float) -> Answered:
    return reply(200, {"success": service.engine.blocks.clear()})


def scale_out(service: Service, ask: Ask, now: float) -> Answered:
    message = "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them."
    return openai(Refusal(403, "PermissionDeniedError", message))


def docs(service: Service, ask: Ask, now: float) -> Answered:
    page = (
        "<!DOCTYPE html>\n<html><head><title>headgate sim</title></head><body>"
        "<p>This server simulates vLLM; its API is described at "
        '<a href="https://docs.vllm.ai">docs.vllm.ai</a>.</p></body></html>\n'
    )
    return Reply(200, (("content-type", "text/html; charset=utf-8"),), page.encode())


def metrics(service: Service, ask: Ask, now: float) -> Answered:
    return Reply(200, (("content-type", "text/plain; version=1.0.0; charset=utf-8"),), service.page(now))


def mounted_metrics(service: Service, ask: Ask, now: float) -> Answered:
    """The page for other methods and for paths below: an application of its own, which sends chunks.

    It knows how to give a part of it: the samples that are named.
    """
    headers = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)
    page, names = service.page(now), parse_qs(ask.query).get("name[]")
    return Reply(200, headers, page if names is None else only(page.decode(), names).encode(), chunked=True)
