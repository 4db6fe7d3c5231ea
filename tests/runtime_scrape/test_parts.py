"""Of a long metrics page only the part that matters is asked for, where the server knows how to give it."""

import asyncio

from raw_server import ok, serving, until
from test_scrape import NOT_FOUND, Page, endpoint, metrics, run, scraping

LONG = "# filler\n" * 1000
PART = (
    "/metrics/?name%5B%5D=vllm:num_requests_waiting&name%5B%5D=vllm:num_requests_running"
    "&name%5B%5D=vllm:kv_cache_usage_perc&name%5B%5D=vllm:gpu_cache_usage_perc"
    "&name%5B%5D=vllm:lora_requests_info&name%5B%5D=vllm:cache_config_info"
)


def whole(waiting: int) -> bytes:
    return ok(f"{LONG}vllm:num_requests_waiting {waiting}\n")


def test_a_part_of_a_long_page_is_asked_for():
    async def scenario():
        page = Page(**{"/metrics": whole(1), PART: metrics(2)})
        async with serving(page) as server, scraping() as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: told.latest and told.latest["a"].waiting == 2)
            page.answers[PART] = metrics(3)
            await until(lambda: told.latest["a"].waiting == 3)
            assert server.asked.count("/metrics") == 1
            assert scraper.errors == {}

    run(scenario)


def test_a_short_page_is_asked_for_whole():
    async def scenario():
        async with serving(Page()) as server, scraping() as (scraper, _told):
            scraper.watch([endpoint(server)])
            await until(lambda: server.asked.count("/metrics") >= 4)
            assert not any("name" in path for path in server.asked)

    run(scenario)


def test_where_there_are_no_parts_it_is_whole_pages_for_good_and_no_error():
    async def scenario():
        silent: list[str] = []
        page = Page(**{"/metrics": whole(1), PART: NOT_FOUND})
        async with serving(page) as server, scraping(on_silence=lambda *what: silent.append(what)) as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: server.asked.count("/metrics") >= 5)
            page.answers["/metrics"] = whole(4)
            await until(lambda: told.latest["a"].waiting == 4)
            assert server.asked.count(PART) == 1
            assert (silent, scraper.errors) == ([], {})

    run(scenario)


def test_a_part_that_says_less_than_the_whole_page_does_not_count():
    async def scenario():
        page = Page(**{"/metrics": whole(1), PART: ok("vllm:num_requests_running 5\n")})
        async with serving(page) as server, scraping() as (scraper, told):
            scraper.watch([endpoint(server)])
            await until(lambda: server.asked.count("/metrics") >= 5)
            assert server.asked.count(PART) == 1
            assert {load.waiting for _, load in told.reports} == {1}

    run(scenario)


def test_who_breaks_off_at_a_part_is_asked_for_it_thrice_and_is_not_silent():
    async def scenario():
        silent: list[str] = []
        page = Page(**{"/metrics": whole(1), PART: (b"", "close")})
        async with serving(page) as server, scraping(on_silence=lambda *what: silent.append(what)) as (scraper, _told):
            scraper.watch([endpoint(server)])
            await until(lambda: server.asked.count("/metrics") >= 8)
            asked = server.asked.count(PART)
            assert 3 <= asked <= 9  # a kept connection may have ended by itself: it is asked again on another one
            assert (silent, scraper.errors) == ([], {})
            await until(lambda: server.asked.count("/metrics") >= 12)
            assert server.asked.count(PART) == asked

    run(scenario)


def test_a_server_that_is_gone_is_silent_and_asked_in_part_again_when_it_is_back():
    async def scenario():
        silent: list[tuple[str, str]] = []
        page = Page(**{"/metrics": whole(1), PART: metrics(2)})
        async with scraping(on_silence=lambda *what: silent.append(what)) as (scraper, _told):
            async with serving(page) as server:
                scraper.watch([endpoint(server)])
                await until(lambda: server.asked.count(PART) >= 2)
                port = server.port
            await until(lambda: silent)
            assert silent[0] == ("a", "GET /metrics: connection refused")
            back = await asyncio.start_server(server._serve, "127.0.0.1", port)
            asked = server.asked.count(PART)
            await until(lambda: server.asked.count(PART) > asked)
            back.close()
            server.drop_connections()

    run(scenario)
