"""An endpoint that fails, before a real gateway: who is asked, what is said, what `get` and the metrics show."""

import asyncio

from model_servers import World, play


def test_an_endpoint_that_answers_500_five_times_in_a_row_is_left_alone_and_that_is_said_once() -> None:
    async def story(world: World) -> None:
        bad = world.models[0]
        bad.status = 500
        while bad.asked < 5:
            assert await world.ask() in (200, 500)
        for _ in range(20):
            assert await world.ask() == 200
        assert bad.asked == 5
        row = world.endpoints()["ns/m0-rank-0"]
        assert row["state"] == "ejected"
        assert "it answered 500" in str(row["note"])
        page = await world.page()
        assert 'headgate_pool_endpoints{pool="ns/pool",state="ejected"} 1' in page
        assert 'headgate_ejections_total{pool="ns/pool"} 1' in page
        assert 'headgate_endpoint_ready{pool="ns/pool",endpoint="ns/m0-rank-0"' in page

    assert play(story) == [
        "Endpoint ns/m0-rank-0 has failed 5 times in a row (it answered 500): while others serve it gets no requests "
        "for 10 s, and longer each time that it fails again."
    ]


def test_an_endpoint_that_refuses_connections_is_left_alone_and_serves_again_when_nobody_else_does() -> None:
    async def story(world: World) -> None:
        first, second = world.models
        await first.stop()
        world.gateway.serving.plane.upstreams.close()  # type: ignore[attr-defined]
        while not world.said:
            assert await world.ask() == 200, "a connection that is refused is no reason to refuse a request"
        assert world.endpoints()["ns/m0-rank-0"]["state"] == "ejected"
        await second.stop()
        world.gateway.serving.plane.upstreams.close()  # type: ignore[attr-defined]
        first._server = await asyncio.start_server(first._serve, "127.0.0.1", first.port)
        assert await world.ask() == 200, "it is ejected, but nobody else is left"
        assert world.said[1:] == ["Endpoint ns/m0-rank-0 serves again."]
        assert world.endpoints()["ns/m0-rank-0"]["state"] == "ready"

    assert "refused" in play(story)[0]


def test_an_endpoint_that_hangs_is_left_alone_though_no_request_to_it_has_failed_yet() -> None:
    async def story(world: World) -> None:
        hung = world.models[0]
        hung.hangs = True
        await world.until(lambda: world.said)
        assert world.endpoints()["ns/m0-rank-0"]["state"] == "ejected"
        assert await world.ask() == 200
        assert hung.asked == 0

    assert "GET /v1/models: no answer within 1 s" in play(story, eject_after=2)[0]


def test_with_eject_after_0_nobody_is_ever_ejected() -> None:
    async def story(world: World) -> None:
        world.models[0].status = 503
        for _ in range(40):
            await world.ask()
        assert world.models[0].asked > 10

    assert play(story, eject_after=0) == []
