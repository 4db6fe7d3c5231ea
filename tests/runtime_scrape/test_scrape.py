"""The scraper, over real sockets."""

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from time import monotonic

from raw_server import ok, serving, until

from headgate.fleet.endpoint import Endpoint, Load, Served
from headgate.runtime.client import Client
from headgate.runtime.scrape import Scraper


def metrics(waiting: int) -> bytes:
    return ok(f"vllm:num_requests_waiting {waiting}\n")


def models(*names: str) -> bytes:
    return ok(json.dumps({"object": "list", "data": [{"id": name} for name in names]}))


NOT_FOUND = ok('{"detail":"Not Found"}', "404 Not Found")


class Page:
    """What a model server answers, path by path; change it as you go."""

    def __init__(self, **more) -> None:
        self.answers = {"/metrics": metrics(0), "/v1/models": models("m"), **more}

    def __call__(self, path: str) -> object:
        return self.answers[path]


class Told:
    """What a scraper has reported."""

    def __init__(self) -> None:
        self.latest: dict[str, Load] = {}
        self.reports: list[tuple[str, Load]] = []

    def on_load(self, name: str, load: Load) -> None:
        self.latest[name] = load
        self.reports.append((name, load))


@asynccontextmanager
async def scraping(**more):
    client, told = Client(), Told()
    scraper = Scraper(client, told.on_load, **{"interval": 0.02, **more})
    scraper.start()
    try:
        yield scraper, told
    finally:
        await scraper.stop()
        client.close()


def endpoint(server, name="a", **more) -> Endpoint:
    return Endpoint(name, "127.0.0.1", server.port, **more)


def run(scenario) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_the_first_report_has_metrics_and_models():
    async def scenario():
        async with serving(Page()) as server, scraping() as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: told.reports)
            name, load = told.reports[0]
            assert (name, load.waiting, load.models) == ("a", 0, (Served("m"),))
            assert monotonic() - load.at < 5

    run(scenario)


def test_changes_are_seen():
    async def scenario():
        page = Page()
        async with serving(page) as server, scraping() as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: told.latest)
            page.answers["/metrics"] = metrics(7)
            await until(lambda: told.latest["a"].waiting == 7)
            page.answers["/v1/models"] = models("m", "adapter")
            await until(lambda: len(told.latest["a"].models) == 2)
            assert told.latest["a"].waiting == 7

    run(scenario)


def test_each_endpoint_is_read_by_the_names_of_its_engine():
    async def scenario():
        page = Page(**{"/metrics": ok("sglang:num_queue_reqs 3\nvllm:num_requests_waiting 9\n")})
        async with serving(page) as server, scraping() as (scraper, told):
            scraper.watch([endpoint(server, "v"), endpoint(server, "s", engine="sglang")])
            await until(lambda: len(told.latest) == 2)
            assert (told.latest["v"].waiting, told.latest["s"].waiting) == (9, 3)

    run(scenario)


def test_an_endpoint_that_does_not_answer_is_reported_as_unknown_once():
    async def scenario():
        async with serving(Page()) as gone:
            pass
        async with serving(Page()) as server, scraping() as (scraper, told):
            scraper.watch([endpoint(gone), endpoint(server, "b")])
            await until(lambda: len(server.asked) > 10)
            assert [report for report in told.reports if report[0] == "a"] == [("a", Load())]
            assert scraper.errors == {"a": "GET /metrics: connection refused"}

    run(scenario)


def test_one_that_fails_is_asked_less_and_less_and_keeps_its_last_load():
    async def scenario():
        page = Page()
        async with serving(page) as server, serving(Page()) as sound, scraping(interval=0.01) as (scraper, told):
            scraper.watch([endpoint(server), endpoint(sound, "b")])
            await until(lambda: len(told.latest) == 2)
            page.answers["/metrics"] = ok("sorry", "500 Internal Server Error")
            await until(lambda: scraper.errors)
            before, count, turns = told.latest["a"], server.asked.count("/metrics"), sound.asked.count("/metrics")
            await until(lambda: sound.asked.count("/metrics") - turns >= 40)
            assert 2 <= server.asked.count("/metrics") - count <= 10  # a pause that doubles has had its sixth turn
            assert told.latest["a"] is before
            assert scraper.errors == {"a": "GET /metrics: answered 500"}
            page.answers["/metrics"] = metrics(4)
            await until(lambda: told.latest["a"].waiting == 4)
            assert scraper.errors == {}

    run(scenario)


def test_a_model_list_that_is_none_changes_nothing():
    async def scenario():
        page = Page()
        async with serving(page) as server, scraping() as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: told.latest)
            page.answers["/v1/models"] = ok("<html>")
            await until(lambda: scraper.errors)
            assert told.latest["a"].models == (Served("m"),)

    run(scenario)


def test_what_a_server_does_not_have_is_not_asked_for_again_and_again():
    async def scenario():
        page = Page(**{"/metrics": NOT_FOUND})
        async with serving(page) as server, scraping() as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: server.asked.count("/v1/models") >= 2)
            assert server.asked.count("/metrics") == 1
            assert told.reports[0] == ("a", Load(models=(Served("m"),)))
            assert scraper.errors == {}

    run(scenario)


def test_refresh_asks_for_models_at_once_but_not_faster_than_ten_times_a_second():
    async def scenario():
        page = Page()
        async with serving(page) as server, scraping(busy=lambda: False) as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: told.latest)
            page.answers["/v1/models"] = models("m", "adapter")
            began, asked = monotonic(), server.asked.count("/v1/models")
            scraper.refresh(["a", "nobody"])
            await until(lambda: len(told.latest["a"].models) == 2)
            assert server.asked.count("/metrics") == 1  # the turn of what is idle has not come yet

            def asked_thrice_more():
                scraper.refresh(["a"])
                return server.asked.count("/v1/models") - asked >= 4

            await until(asked_thrice_more)
            assert monotonic() - began >= 0.3

    run(scenario)


def test_who_waits_for_room_has_loads_asked_for_at_once_but_not_faster_than_fifty_times_a_second():
    async def scenario():
        async with serving(Page()) as server, scraping(interval=1.0) as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: told.latest)
            began, asked = monotonic(), server.asked.count("/metrics")

            def asked_ten_times_more():
                scraper.refresh(["a"], loads=True)
                return server.asked.count("/metrics") - asked >= 10

            await until(asked_ten_times_more, 5.0)
            assert 0.18 <= monotonic() - began < 2.0  # at its own pace it would be ten seconds

    run(scenario)


def test_idle_endpoints_are_asked_rarely_and_traffic_wakes_the_scraper():
    async def scenario():
        busy = []
        async with serving(Page()) as server, scraping(busy=lambda: bool(busy)) as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: told.latest)
            began = monotonic()
            await until(lambda: server.asked.count("/metrics") == 2)
            assert monotonic() - began > 0.9
            busy.append(1)
            await until(lambda: server.asked.count("/metrics") >= 8, 5.0)  # at the idle pace it would be six

    run(scenario)


def test_an_endpoint_that_is_watched_no_more_is_asked_no_more():
    async def scenario():
        async with serving(Page()) as server, scraping() as (scraper, told):
            scraper.watch([endpoint(server, "a"), endpoint(server, "b")])
            await until(lambda: len(told.latest) == 2)
            scraper.watch([endpoint(server, "b")])
            told.reports.clear()
            await until(lambda: len(told.reports) > 3)
            assert {name for name, _ in told.reports} == {"b"}

    run(scenario)


def test_an_endpoint_that_moved_starts_over():
    async def scenario():
        old, new = Page(**{"/metrics": metrics(1)}), Page(**{"/metrics": metrics(2), "/v1/models": NOT_FOUND})
        async with serving(old) as first, serving(new) as second, scraping() as (scraper, told):
            scraper.watch([endpoint(first)])
            await until(lambda: told.latest)
            scraper.watch([endpoint(second)])
            await until(lambda: told.latest["a"].waiting == 2)
            assert told.latest["a"].models is None

    run(scenario)


def test_watching_the_same_again_does_not_start_over():
    async def scenario():
        async with serving(Page()) as server, scraping(busy=lambda: False) as (scraper, told):
            for _ in range(20):
                scraper.watch([endpoint(server, ready=True)])
                await asyncio.sleep(0)
            await until(lambda: told.latest)
            assert server.asked.count("/v1/models") == 1

    run(scenario)


def test_silent_servers_do_not_keep_the_others_waiting():
    async def scenario():
        async with serving(lambda path: None) as silent, serving(Page()) as server, scraping() as (scraper, told):
            scraper.watch([*(endpoint(silent, f"s{n}") for n in range(40)), endpoint(server)])
            await until(lambda: told.latest)
            assert list(told.latest) == ["a"]

    run(scenario)


def test_more_endpoints_than_may_be_asked_at_once_all_get_their_turn():
    async def scenario():
        async with serving(Page()) as server, scraping() as (scraper, told):
            scraper.watch(endpoint(server, f"e{n}") for n in range(150))
            await until(lambda: len(told.latest) == 150)

    run(scenario)


def test_where_more_is_asked_for_than_can_be_had_all_get_the_same_share():
    async def slow(reader, writer):
        """A server that takes 50 ms: 64 asked at once are 1,280 in a second, of the 2,500 that are wanted."""
        while head := await reader.readline():
            while (await reader.readline()).strip():
                pass
            await asyncio.sleep(0.05)
            writer.write(metrics(0) if b"/metrics" in head else NOT_FOUND)
        writer.close()

    async def scenario():
        server = await asyncio.start_server(slow, "127.0.0.1", 0, backlog=1024)
        port = server.sockets[0].getsockname()[1]
        async with scraping(interval=0.01) as (scraper, told):
            scraper.watch(Endpoint(f"e{n}", "127.0.0.1", port) for n in range(128))
            await until(lambda: len(told.reports) > 6 * 128)
            counts = Counter(name for name, _ in told.reports)
            assert len(counts) == 128
            assert min(counts.values()) >= 4
        server.close()

    run(scenario)


def test_after_stop_nothing_is_asked():
    async def scenario():
        async with serving(Page()) as server, serving(Page()) as clock, scraping() as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: told.latest)
            await scraper.stop()
            count = len(server.asked)
            scraper.watch([endpoint(server), endpoint(server, "b")])
            async with scraping() as (other, _):
                other.watch([endpoint(clock)])
                await until(lambda: len(clock.asked) > 5)
            assert len(server.asked) == count

    run(scenario)
