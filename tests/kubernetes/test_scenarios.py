"""What users do on a cluster, before a real API server: the gateway follows, and no request fails by it."""

import os
import time

from gate import Traffic, status
from kubelet import until
from running import Running
from town import GATE, MODEL, POOL, POOLS, ROUTE, Town

OUTAGE_S = float(os.environ.get("HEADGATE_OUTAGE", "5"))


def test_edited_deleted_and_made_anew(town: Town, gate: Running) -> None:
    assert status(gate.address, MODEL) == 0
    town.pod()
    town.apply(POOL, GATE, ROUTE)
    until(lambda: status(gate.address, MODEL) == 200)
    town.apply(ROUTE.replace("rules: [{", "rules: [{matches: [{path: {value: /elsewhere}}], "))
    until(lambda: status(gate.address, MODEL) == 404)
    town.apply(ROUTE)
    until(lambda: status(gate.address, MODEL) == 200)
    town.apply(GATE.replace("port: 80", "port: 81"))
    until(lambda: status(gate.address, MODEL, 8081) == 200)
    assert status(gate.address, MODEL) == 0
    town.kubectl("delete", "gateway", "gate")
    until(lambda: status(gate.address, MODEL, 8081) == 0)
    town.apply(GATE)
    until(lambda: status(gate.address, MODEL) == 200)
    town.kubectl("delete", f"inferencepools.{POOLS}", "pool")
    until(lambda: status(gate.address, MODEL) == 500)
    town.apply(POOL)
    until(lambda: status(gate.address, MODEL) == 200)


def test_a_pod_is_in_and_out_within_a_second(town: Town, gate: Running) -> None:
    first, second = town.pod(), town.pod()
    town.apply(POOL, GATE, ROUTE)
    until(lambda: status(gate.address, MODEL) == 200)

    def addresses() -> set[str]:
        return {row["address"].partition(":")[0] for row in gate.get("endpoints") if row["state"] == "ready"}

    town.kubelet.status(second, ready=False)
    until(lambda: second.address not in addresses(), 1 + ASKING_S)
    town.kubelet.status(second, ready=True)
    until(lambda: second.address in addresses(), 1 + ASKING_S)
    assert first.address in addresses()


# What it takes `headgate get` to start and answer on a machine that does much else.
ASKING_S = 5.0


def test_a_rolling_update_fails_no_request(town: Town, gate: Running) -> None:
    old = [town.pod(), town.pod()]
    town.apply(POOL, GATE, ROUTE)
    until(lambda: status(gate.address, MODEL) == 200)
    with Traffic(gate.address, MODEL) as traffic:
        for pod in old:  # maxSurge 1, maxUnavailable 0
            town.pod()
            town.kubelet.delete(pod)
        until(lambda: traffic.statuses.get(200, 0) > 200)
    assert set(traffic.statuses) == {200}, traffic.statuses


def test_traffic_goes_on_while_the_api_server_is_away(town: Town, gate: Running) -> None:
    town.pod()
    town.apply(POOL, GATE, ROUTE)
    until(lambda: status(gate.address, MODEL) == 200)
    with Traffic(gate.address, MODEL) as traffic:
        with town.cluster.stopped():
            until(lambda: gate.said("can't be followed"))
            time.sleep(OUTAGE_S)  # how long it is away is what this is about
        town.apply(GATE.replace("listeners: [", "listeners: [{name: more, protocol: HTTP, port: 82}, "))
        until(lambda: status(gate.address, MODEL, 8082) == 200, OUTAGE_S + 60)
        newer = town.pod()
        until(lambda: newer.address in {row["address"].partition(":")[0] for row in gate.get("endpoints")})
    assert set(traffic.statuses) == {200}, traffic.statuses
