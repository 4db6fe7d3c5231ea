"""A cluster read as files are: what is ours of it, which kinds there are, and what changes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import manifests as written
import pytest
from fake_api import FakeApi, pod, until

from headgate.fleet.endpoint import Server
from headgate.runtime.config import Reading, remarks
from headgate.runtime.files import Files
from headgate.runtime.kubernetes import cluster
from headgate.runtime.kubernetes.access import Access
from headgate.runtime.policies import Policies
from headgate.runtime.sources import Sources


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
    files = Files(Sources(()), None, Policies(seen.said.append))
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
                await api.put(written.config_map("autoscaler-status", at="now"))
                await until(lambda: seen.changes == 2)
                assert (await found.read(reading)).snapshot == reading.snapshot
                await api.delete("HTTPRoute", "route")
                await until(lambda: seen.changes == 3)
                assert len((await found.read(reading)).snapshot.routes) == 20

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
                api.served -= {"InferencePool"}
                await until(lambda: seen.changes == 2)
                assert (await found.read(reading)).snapshot.pools == ()

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
