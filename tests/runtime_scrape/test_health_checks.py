"""Active health checks, over real sockets."""

import asyncio
from contextlib import asynccontextmanager

from raw_server import ok, serving, until

from headgate.fleet.endpoint import Endpoint
from headgate.plan.plan import HealthCheck
from headgate.runtime.client import Client
from headgate.runtime.health import Health

CHECK = HealthCheck(path="/healthz", interval_s=0.02, timeout_s=0.5, healthy=3, unhealthy=2)
SICK = ok("", "503 Service Unavailable")


@asynccontextmanager
async def checking():
    client, verdicts = Client(), []
    health = Health(client, lambda name, healthy: verdicts.append((name, healthy)))
    health.start()
    try:
        yield health, verdicts
    finally:
        await health.stop()
        client.close()


def endpoint(port: int, name="a", **more) -> Endpoint:
    return Endpoint(name, "127.0.0.1", port, **more)


def run(scenario) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_one_success_makes_a_new_endpoint_healthy_and_nothing_is_said_twice():
    async def scenario():
        async with serving(lambda path: ok("")) as server, checking() as (health, verdicts):
            health.watch([(endpoint(server.port), CHECK)])
            await until(lambda: len(server.asked) >= 5)
            assert verdicts == [("a", True)]
            assert set(server.asked) == {"/healthz"}

    run(scenario)


def test_an_endpoint_falls_and_rises_by_its_thresholds():
    async def scenario():
        said = [ok("")]
        async with serving(lambda path: said[0]) as server, checking() as (health, verdicts):
            health.watch([(endpoint(server.port), CHECK)])
            await until(lambda: verdicts)
            said[0], count = SICK, len(server.asked)
            await until(lambda: len(verdicts) == 2)
            assert len(server.asked) - count >= 2
            said[0], count = ok(""), len(server.asked)
            await until(lambda: len(verdicts) == 3)
            assert len(server.asked) - count >= 3
            assert verdicts == [("a", True), ("a", False), ("a", True)]

    run(scenario)


def test_a_single_failure_changes_nothing():
    async def scenario():
        fails = {3, 6, 9}
        async with serving(lambda path: SICK if len(server_asked) in fails else ok("")) as server:
            server_asked = server.asked
            async with checking() as (health, verdicts):
                health.watch([(endpoint(server.port), CHECK)])
                await until(lambda: len(server.asked) > 12)
                assert verdicts == [("a", True)]

    run(scenario)


def test_an_endpoint_that_was_never_healthy_is_soon_told_to_be_sick():
    async def scenario():
        async with serving(lambda path: SICK) as server, checking() as (health, verdicts):
            health.watch([(endpoint(server.port), CHECK)])
            await until(lambda: verdicts)
            assert verdicts == [("a", False)]
            assert len(server.asked) >= 2

    run(scenario)


def test_a_server_that_does_not_answer_in_time_is_sick():
    async def scenario():
        check = HealthCheck(interval_s=0.02, timeout_s=0.05, unhealthy=2)
        async with serving(lambda path: None) as server, checking() as (health, verdicts):
            health.watch([(endpoint(server.port), check)])
            await until(lambda: verdicts == [("a", False)])

    run(scenario)


def test_a_tcp_check_asks_for_a_connection_only():
    async def scenario():
        check = HealthCheck(tcp=True, interval_s=0.02, timeout_s=0.5, unhealthy=2)
        async with checking() as (health, verdicts):
            async with serving(lambda path: ok("")) as server:
                health.watch([(endpoint(server.port), check)])
                await until(lambda: verdicts == [("a", True)])
                assert server.requests == []
            await until(lambda: verdicts == [("a", True), ("a", False)])

    run(scenario)


def test_a_check_may_have_a_port_of_its_own():
    async def scenario():
        async with serving(lambda path: ok("")) as server, checking() as (health, verdicts):
            check = HealthCheck(port=server.port, interval_s=0.02)
            health.watch([(endpoint(1), check)])
            await until(lambda: verdicts == [("a", True)])
            moved = HealthCheck(port=7, interval_s=0.02)
            health.watch([(endpoint(1, mapped={7: server.port}), moved)])
            await until(lambda: verdicts == [("a", True), ("a", True)])

    run(scenario)


def test_readiness_that_changes_does_not_start_the_count_over_but_another_address_does():
    async def scenario():
        healthy = serving(lambda path: ok("")), serving(lambda path: ok(""))
        async with healthy[0] as first, healthy[1] as second, checking() as (health, verdicts):
            health.watch([(endpoint(first.port), CHECK)])
            await until(lambda: verdicts)
            health.watch([(endpoint(first.port, ready=False), CHECK)])
            await until(lambda: len(first.asked) > 5)
            assert verdicts == [("a", True)]
            health.watch([(endpoint(second.port), CHECK)])
            await until(lambda: verdicts == [("a", True), ("a", True)])

    run(scenario)


def test_of_two_checks_for_one_endpoint_the_first_counts_and_those_dropped_are_asked_no_more():
    async def scenario():
        other = HealthCheck(path="/other", interval_s=0.02)
        healthy = serving(lambda path: ok("")), serving(lambda path: ok(""))
        async with healthy[0] as server, healthy[1] as clock, checking() as (health, _):
            health.watch([(endpoint(server.port), CHECK), (endpoint(server.port), other)])
            await until(lambda: len(server.asked) > 3)
            assert "/other" not in server.asked
            health.watch([(endpoint(clock.port, "b"), CHECK)])
            await until(lambda: clock.asked)  # whatever was under way is done
            count = len(server.asked)
            await until(lambda: len(clock.asked) > 4)
            assert len(server.asked) == count

    run(scenario)
