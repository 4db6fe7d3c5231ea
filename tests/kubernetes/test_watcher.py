"""Collections followed over a real socket, whatever the API server does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_api import FakeApi, pod, until

from headgate.runtime.kubernetes.access import Access, User
from headgate.runtime.kubernetes.client import Client, Unreachable
from headgate.runtime.kubernetes.pods import PodServers, selection
from headgate.runtime.kubernetes.watcher import Collection, Watcher
from headgate.runtime.kubernetes.watching import Trouble

PODS = Collection("/api/v1/pods")


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


class Heard:
    def __init__(self) -> None:
        self.changes = 0
        self.troubles: list[Trouble] = []

    def changed(self, _: Any) -> None:
        self.changes += 1

    def tell(self, _: Collection, trouble: Trouble) -> None:
        self.troubles.append(trouble)


@asynccontextmanager
async def watching(api: FakeApi, heard: Heard) -> AsyncIterator[Watcher]:
    from headgate.runtime.kubernetes.pods import server

    client = Client(Access(api.url))
    watcher = Watcher(client, PODS, server, heard.changed, heard.tell, dice=lambda: 0.0)
    task = asyncio.create_task(watcher.run())
    try:
        yield watcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


def names(watcher: Watcher) -> list[str]:
    return sorted(watcher.items)


def test_all_pages_are_listed_and_what_comes_later_is_heard() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            api.page = 3
            for i in range(8):
                await api.put(pod(f"p{i}"))
            heard = Heard()
            async with watching(api, heard) as watcher:
                await watcher.synced.wait()
                assert len(watcher.items) == 8
                assert heard.changes == 1
                await api.put(pod("p8"))
                await api.delete("Pod", "p0")
                await until(lambda: "default/p8" in watcher.items and "default/p0" not in watcher.items)
                assert heard.changes == 3

    run(test)


def test_a_change_that_means_nothing_wakes_nobody() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            await api.put(pod("a"))
            heard = Heard()
            async with watching(api, heard) as watcher:
                await watcher.synced.wait()
                before = watcher.items["default/a"]
                busy = pod("a")
                busy["status"]["hostIP"] = "10.0.0.9"
                await api.put(busy)
                await until(lambda: watcher.items["default/a"].version != before.version)
                assert heard.changes == 1
                assert watcher.items["default/a"].value is before.value

    run(test)


def test_a_watch_that_is_cut_off_goes_on_where_it_was() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            await api.put(pod("a"))
            heard = Heard()
            async with watching(api, heard) as watcher:
                await watcher.synced.wait()
                await until(lambda: sum("watch=1" in path for _, path in api.requests) == 1)
                await api.end_watches()
                await api.put(pod("b"))
                await until(lambda: "default/b" in watcher.items)
                lists = [path for _, path in api.requests if "/pods" in path and "watch=1" not in path]
                assert len(lists) == 1

    run(test)


def test_what_was_forgotten_is_listed_again_and_meanwhile_the_old_counts() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            await api.put(pod("a"))
            await api.put(pod("b"))
            heard = Heard()
            async with watching(api, heard) as watcher:
                await watcher.synced.wait()
                await until(lambda: any("watch=1" in path for _, path in api.requests))
                await api.stop()
                await until(lambda: bool(heard.troubles and heard.troubles[-1].why))
                assert names(watcher) == ["default/a", "default/b"]
                await api.delete("Pod", "a")
                await api.put(pod("c"))
                api.forget()
                await api.start()
                await until(lambda: names(watcher) == ["default/b", "default/c"])
                await until(lambda: heard.troubles[-1].why == "")

    run(test)


def test_who_may_not_look_is_told_and_waits_for_nothing() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            api.refused["pods"] = 403
            heard = Heard()
            async with watching(api, heard) as watcher:
                await watcher.synced.wait()
                assert watcher.barred
                assert heard.troubles[0].status == 403

    run(test)


def test_a_token_that_expired_is_read_again(tmp_path: Any) -> None:
    async def test() -> None:
        file = tmp_path / "token"
        file.write_text("old\n")
        async with FakeApi() as api:
            api.tokens = {"old"}
            client = Client(Access(api.url, user=User(token_file=str(file))))
            await client.ask("GET", "/apis")
            api.tokens = {"new"}
            file.write_text("new\n")
            await client.ask("GET", "/apis")
            await client.close()

    run(test)


def test_servers_come_and_go_with_their_pods_within_a_second() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            client = Client(Access(api.url))
            told: list[Any] = []
            pods = PodServers(client, told.append, lambda *_: None)
            await api.put(pod("a", ready=False))
            await api.put(pod("other", app="web"))
            pods.follow([selection("default", {"app": "vllm"})])
            await pods.synced()
            await until(lambda: [s.name for s in pods.servers] == ["a"])
            assert not pods.servers[0].ready
            assert pods.servers[0].ports == {"http": 8000}
            await api.put(pod("a"))
            await until(lambda: pods.servers[0].ready, 1.0)
            await api.put(pod("a", deletionTimestamp="2026-01-01T00:00:00Z"))
            await until(lambda: pods.servers[0].draining, 1.0)
            await api.put(pod("b"))
            await api.delete("Pod", "a")
            await until(lambda: [s.name for s in pods.servers] == ["b"], 1.0)
            # It is not selected any more.
            await api.put(pod("b", app="web"))
            await until(lambda: pods.servers == (), 1.0)
            await pods.close()
            await client.close()

    run(test)


def test_why_nobody_answers_is_told_in_words() -> None:
    async def test() -> None:
        async with FakeApi() as api:
            port = api.port
            client = Client(Access(f"https://127.0.0.1:{port}"))
            with pytest.raises(Unreachable, match="SSL"):
                await client.ask("GET", "/apis")
            await client.close()
        client = Client(Access(f"http://127.0.0.1:{port}"))
        with pytest.raises(Unreachable, match=r"^Connection refused$"):
            await client.ask("GET", "/apis")
        await client.close()

    run(test)
