"""A cluster read as files are: what is ours of it, which kinds there are, and what changes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import applied as written
import pytest
from fake_api import FakeApi, pod, until

from headgate.fleet.endpoint import Server
from headgate.plan import Plan
from headgate.plan.plan import Listener
from headgate.runtime.config import Reading, remarks
from headgate.runtime.files import Files
from headgate.runtime.kubernetes import cluster
from headgate.runtime.kubernetes.access import Access
from headgate.runtime.policies import Policies


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


class Seen:
    """What a System would see of a cluster."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.changes = 0
        self.servers: tuple[Server, ...] = ()
        self.reading = Reading()

    def changed(self) -> None:
        self.changes += 1

    def served(self, servers: Any) -> None:
        self.servers = tuple(servers)


@asynccontextmanager
async def following(api: FakeApi, **options: Any) -> AsyncIterator[tuple[cluster.Cluster, Seen]]:
    seen = Seen()
    files = Files((), Policies(seen.said.append))
    found = cluster.Cluster(
        cluster.Options(Access(api.url), **options), files, seen.said.append, seen.changed, seen.served
    )
    try:
        seen.reading = await found.first()
        await found.apply(seen.reading)
        yield found, seen
    finally:
        await found.stop(0)


async def _small(api: FakeApi) -> None:
    for one in (written.gateway_class(), written.gateway(), written.route(), written.pool(), pod("a")):
        await api.put(one)


@pytest.mark.parametrize("aggregated", [True, False])
def test_objects_come_to_the_plan_that_files_give(aggregated: bool) -> None:
    async def test() -> None:
        async with FakeApi(aggregated) as api:
            await _small(api)
            async with following(api) as (_, seen):
                plan = seen.reading.plan
                assert [(one.gateway, one.port) for one in plan.listeners] == [("default/gate", 8080)]
                assert plan.listeners[0].routes[0].backends[0].pool == "default/pool"
                assert [server.name for server in seen.servers] == ["a"]
                assert remarks(seen.reading) == []
                assert seen.said == []

    run(test)


def test_gateways_of_others_are_left_alone_unless_their_class_is_named() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            await _small(api)
            await api.put(written.gateway_class("theirs", "example.com/other"))
            await api.put(written.gateway("other", 8081, "theirs"))
            await api.put(written.route("theirs", "other", "nowhere"))
            async with following(api) as (_, seen):
                assert [one.meta.name for one in seen.reading.snapshot.gateways] == ["gate"]
                assert [one.meta.name for one in seen.reading.snapshot.routes] == ["route"]
                assert remarks(seen.reading) == []
            async with following(api, classes=("theirs",)) as (_, seen):
                assert [one.meta.name for one in seen.reading.snapshot.gateways] == ["gate", "other"]

    run(test)


def test_changes_are_read_once_for_a_burst_and_those_that_matter_not_change_nothing() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            await _small(api)
            async with following(api) as (found, seen):
                for i in range(20):
                    await api.put(written.route(f"r{i}"))
                await until(lambda: seen.changes == 1)
                reading = await found.read(seen.reading)
                assert len(reading.snapshot.routes) == 21
                # What nothing refers to is held, and no reason to read anything.
                await api.put(written.config_map("autoscaler-status", at="now"))
                await until(lambda: any(one.key == "default/autoscaler-status" for one in found._holdings.objects()))
                assert found._settle is None
                await api.delete("HTTPRoute", "route")
                await api.put(written.service("picker"))
                await until(lambda: seen.changes == 2)
                reading = await found.read(reading)
                assert len(reading.snapshot.routes) == 20
                assert reading.snapshot.config_maps == ()
                assert [one.meta.name for one in reading.snapshot.services] == ["picker"]

    run(test)


def test_a_kind_that_is_installed_later_is_read_and_one_that_goes_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.runtime.kubernetes.holdings._DISCOVER_S", 0.05)

    async def test() -> None:
        async with FakeApi() as api:
            api.served -= {"InferencePool"}
            await _small(api)
            async with following(api) as (found, seen):
                assert seen.reading.snapshot.pools == ()
                assert "InferencePool default/pool does not exist" in " ".join(remarks(seen.reading))
                api.served |= {"InferencePool"}
                await until(lambda: seen.changes == 1)
                reading = await found.read(seen.reading)
                assert len(reading.snapshot.pools) == 1
                # Who removes a kind removes its objects first.
                await api.delete("InferencePool", "pool")
                await until(lambda: seen.changes == 2)
                api.served -= {"InferencePool"}
                await until(lambda: seen.changes == 3)
                assert (await found.read(reading)).snapshot.pools == ()

    run(test)


@pytest.mark.parametrize("stays", [60.0, 0.2])
def test_a_server_that_names_few_kinds_has_just_started_unless_it_stays_so(
    monkeypatch: pytest.MonkeyPatch, stays: float
) -> None:
    monkeypatch.setattr("headgate.runtime.kubernetes.holdings._DISCOVER_S", 0.02)
    monkeypatch.setattr("headgate.runtime.kubernetes.holdings._GONE_S", stays)

    async def test() -> None:
        async with FakeApi() as api:
            await _small(api)
            async with following(api) as (found, seen):
                api.served -= {"InferencePool"}
                if stays < 1:
                    await until(lambda: seen.changes == 1)
                    assert (await found.read(seen.reading)).snapshot.pools == ()
                    return
                await until(lambda: found._holdings._missing)  # it has seen that
                api.served |= {"InferencePool"}
                await until(lambda: not found._holdings._missing)
                assert seen.changes == 0
                assert len((await found.read(seen.reading)).snapshot.pools) == 1

    run(test)


def test_what_may_not_be_read_is_told_once_and_the_rest_is_served() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            api.refused = {"secrets": 403, "gatewayclasses": 403}
            await _small(api)
            async with following(api) as (_, seen):
                assert len(seen.reading.plan.listeners) == 1  # by the name of its class
                assert len(seen.said) == 2
                assert any(line.startswith("/api/v1/secrets can't be read") for line in seen.said)

    run(test)


def test_namespaces_are_read_one_by_one() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            await _small(api)
            elsewhere = written.route("elsewhere")
            elsewhere["metadata"]["namespace"] = "other"
            await api.put(elsewhere)
            async with following(api, namespaces=("default",)) as (_, seen):
                assert [one.meta.key for one in seen.reading.snapshot.routes] == ["default/route"]
                assert not any(path.startswith("/api/v1/services") for _, path in api.requests)

    run(test)


@asynccontextmanager
async def serving(api: FakeApi, **options: Any) -> AsyncIterator[tuple[cluster.Cluster, Seen]]:
    """The same, and what is read is in force: statuses are written."""
    listeners = (Listener("default/gate", "http", 8080),)
    addresses = {"default/gate": "10.1.1.1", "default/later": "10.1.1.2"}
    gateway = SimpleNamespace(
        plan=Plan(listeners),
        sockets={("10.1.1.1", 8080): None},
        unbound={},
        place=lambda listener: ("10.1.1.1", listener.port),
        assigned=SimpleNamespace(addresses=addresses),
        serving=SimpleNamespace(metrics=SimpleNamespace(add=lambda _: None)),
    )
    async with following(api, **options) as (found, seen):

        async def again() -> None:
            while True:
                found.applied(seen.reading, gateway)  # type: ignore[arg-type]
                changes = seen.changes
                while seen.changes == changes:  # noqa: ASYNC110  (as a System would be told)
                    await asyncio.sleep(0.005)
                seen.reading = await found.read(seen.reading)

        works = [asyncio.ensure_future(work()) for work in (*found.works(), again)]
        try:
            yield found, seen
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)


def _condition(value: Any, kind: str) -> Any:
    return next((one for one in value.get("conditions") or () if one["type"] == kind), None)


def _parents(api: FakeApi, kind: str, name: str) -> list[Any]:
    return (api.get(kind, name).get("status") or {}).get("parents") or []


def test_statuses_are_written_once_kept_up_and_taken_back() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            await _small(api)
            async with serving(api):
                await until(lambda: len(api.patched) == 4)
                assert "status" in api.get("GatewayClass", "headgate", "")
                assert _parents(api, "InferencePool", "pool")
                status = api.get("Gateway", "gate")["status"]
                assert status["addresses"] == [{"type": "IPAddress", "value": "10.1.1.1"}]
                assert _condition(status, "Programmed")["status"] == "True"
                assert status["listeners"][0]["attachedRoutes"] == 1

                # An edit: its generation is observed, and what did not change is not written.
                edited = written.route()
                edited["spec"]["hostnames"] = ["a.example.com"]
                await api.put(edited)
                await until(lambda: _parents(api, "HTTPRoute", "route")[0]["conditions"][0]["observedGeneration"] == 2)
                assert len(api.patched) == 5

                # A Gateway of a class that is not ours waits for its controller.
                await api.put(written.gateway(of="other"))
                await until(lambda: _condition(api.get("Gateway", "gate")["status"], "Accepted")["status"] == "Unknown")
                assert api.get("Gateway", "gate")["status"]["addresses"] == []
                await api.put(written.gateway())
                await until(lambda: _condition(api.get("Gateway", "gate")["status"], "Accepted")["status"] == "True")

                # Another controller's entry beside ours stays, and ours go with the Gateway.
                route = api.get("HTTPRoute", "route")
                theirs = {"parentRef": {"name": "x"}, "controllerName": "example.com/other", "conditions": []}
                route["status"]["parents"].append(theirs)
                await api.put(route, status=True)
                await api.delete("Gateway", "gate")
                await until(lambda: _parents(api, "HTTPRoute", "route") == [theirs])
                await until(lambda: _parents(api, "InferencePool", "pool") == [])

    run(test)


def test_one_of_two_writes_and_the_other_takes_over_when_it_leaves() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            await _small(api)

            def holder() -> str:
                return str(api.all("Lease")[0]["spec"]["holderIdentity"])

            async with AsyncExitStack() as second:
                async with serving(api) as (one, _):
                    await until(lambda: bool(api.all("Lease")))
                    other, _ = await second.enter_async_context(serving(api))
                    await until(lambda: "status" in api.get("Gateway", "gate"))
                    assert holder() == one._leader.identity
                    assert not other._leader.leads
                await until(lambda: holder() == other._leader.identity)
                await api.put(written.gateway("later", 8081))
                await until(lambda: "status" in api.get("Gateway", "later"))
            assert holder() == ""

    run(test)


def test_what_is_wrong_is_told_as_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.runtime.kubernetes.teller.EVERY_S", 0.05)

    async def test() -> None:
        async with FakeApi() as api:
            await _small(api)
            await api.delete("InferencePool", "pool")
            async with serving(api):
                await until(lambda: bool(api.all("Event")))
                found = api.all("Event")[0]
                assert found["reason"] == "BackendNotFound"
                assert (found["regarding"]["kind"], found["regarding"]["name"]) == ("HTTPRoute", "route")

    run(test)


def test_the_address_is_that_of_the_service_in_front() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            await _small(api)
            await api.put(written.service("front"))
            async with serving(api, service="front"):
                await until(lambda: "status" in api.get("Gateway", "gate"))
                assert _condition(api.get("Gateway", "gate")["status"], "Programmed")["reason"] == "AddressNotAssigned"
                await api.put(written.service("front", address="203.0.113.7"), status=True)
                await until(lambda: _condition(api.get("Gateway", "gate")["status"], "Programmed")["status"] == "True")
                assert api.get("Gateway", "gate")["status"]["addresses"][0]["value"] == "203.0.113.7"

    run(test)
