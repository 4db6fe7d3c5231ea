"""The life of Pods, with real processes."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from workloads import (
    SERVER,
    Running,
    config_map,
    container,
    no_process_left,
    pod,
    processes,
    run,
    server,
    spec,
    wait_until,
    workload,
)

from headgate.api.workload import (
    ConfigMapVolume,
    Container,
    ContainerPort,
    Exec,
    GrpcCheck,
    Hook,
    HttpGet,
    Lifecycle,
    Probe,
    Sleep,
    TcpSocket,
    Volume,
    VolumeMount,
)
from headgate.runtime.client import Client
from headgate.runtime.pods.probes import Target, verdicts
from headgate.runtime.pods.process import Spawner, SpawnError
from headgate.runtime.pods.spawner import LOG_LIMIT

EVERY_SECOND = Probe(http_get=HttpGet(port="http", path="/health"), period_seconds=1, failure_threshold=1)
ALIVE = Probe(http_get=HttpGet(port="http", path="/health"), period_seconds=1, failure_threshold=2)


def test_replicas_get_addresses_of_their_own_and_become_ready(tmp_path):
    async def story(pods: Running) -> None:
        pods.apply(workloads=(workload(3),))
        await pods.until(lambda: pods.ready == 3)
        assert len({found.address for found in pods.servers}) == 3
        assert all(found.ports == {"http": 8000} and found.labels["app"] == "web" for found in pods.servers)
        client = Client()
        for found in pods.servers:
            assert (await client.fetch("GET", found.address, 8000, "/health")).status == 200
        client.close()

    run(tmp_path, story)


def test_the_same_snapshot_again_changes_nothing(tmp_path):
    async def story(pods: Running) -> None:
        pods.apply(workloads=(workload(2),))
        await pods.until(lambda: pods.ready == 2)
        before, told = processes(tmp_path), len(pods.seen)
        pods.apply(workloads=(workload(2),))
        pods.apply(workloads=(workload(3),))  # one more is the only thing that happens
        await pods.until(lambda: pods.ready == 3)
        assert before.items() <= processes(tmp_path).items()
        assert len(pods.seen) > told

    run(tmp_path, story)


def test_scaling_down_drains_before_it_ends(tmp_path):
    async def story(pods: Running) -> None:
        pods.apply(workloads=(workload(3),))
        await pods.until(lambda: pods.ready == 3)
        pods.apply(workloads=(workload(1),))
        await pods.until(lambda: len(pods.servers) == 1)
        assert any(sum(found.draining for found in seen) == 2 for seen in pods.seen)
        assert all(not found.ready for seen in pods.seen for found in seen if found.draining)

    run(tmp_path, story)


def test_a_rolling_update_keeps_enough_pods_ready(tmp_path):
    async def story(pods: Running) -> None:
        old = workload(3, max_surge=1, max_unavailable=0)
        pods.apply(workloads=(old,))
        await pods.until(lambda: pods.ready == 3)
        names, start = {row.name for row in pods.rows}, len(pods.seen)
        new = workload(3, spec(server(working_dir="/")), max_surge=1, max_unavailable=0)
        pods.apply(workloads=(new,))
        await pods.until(lambda: len(pods.rows) == 3 and not names & {row.name for row in pods.rows})
        await pods.until(lambda: pods.ready == 3)
        for seen in pods.seen[start:]:
            assert sum(found.ready for found in seen) >= 3
            assert sum(not found.draining for found in seen) <= 4

    run(tmp_path, story)


def test_an_old_pod_stays_until_the_new_one_was_ready_for_min_ready_seconds(tmp_path):
    async def story(pods: Running) -> None:
        pods.apply(workloads=(workload(1),))
        await pods.until(lambda: pods.ready == 1)
        pods.apply(workloads=(workload(1, spec(server(working_dir="/")), min_ready_seconds=1),))
        await pods.until(lambda: pods.ready == 2)
        began = time.monotonic()
        await pods.until(lambda: any(found.draining for found in pods.servers))
        assert 0.9 < time.monotonic() - began < 5
        await pods.until(lambda: len(pods.rows) == 1)

    run(tmp_path, story)


def test_a_killed_server_is_not_ready_at_once_and_comes_back(tmp_path):
    async def story(pods: Running) -> None:
        pods.apply(workloads=(workload(2),))
        await pods.until(lambda: pods.ready == 2)
        victim = min(pid for pid, line in processes(tmp_path).items() if "http.server" in line)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await pods.until(lambda: pods.ready == 1)
        assert time.monotonic() - killed < 0.5
        await pods.until(lambda: pods.ready == 2)
        assert sum(row.restarts for row in pods.rows) == 1
        assert any("killed by SIGKILL" in text for text in pods.said)

    run(tmp_path, story)


def test_a_crash_is_told_with_its_last_line_and_tried_again_with_back_off(tmp_path):
    async def story(pods: Running) -> None:
        pods.apply(pods=(pod(of=spec(container("print('starting', flush=True); raise SystemExit('no such model')"))),))
        await pods.until(lambda: pods.rows and pods.rows[0].restarts >= 2)

    told = run(tmp_path, story).said
    log = tmp_path / "logs" / "default_p_main.log"
    assert log.read_text().splitlines()[:4] == ["starting", "no such model"] * 2
    assert told[:2] == [
        f"default/p, container main: exited with 1: no such model; starting it again{when} (log: {log})"
        for when in ("", " in 1 s")
    ]


def test_a_program_that_is_not_there_is_told_and_the_rest_goes_on(tmp_path):
    async def story(pods: Running) -> None:
        missing = spec(Container(name="x", image="i", command=("no-such-program",)))
        pods.apply(pods=(pod("broken", missing), pod("fine")))
        await pods.until(lambda: pods.ready == 1)
        await pods.until(lambda: "no program 'no-such-program' on this machine" in pods.rows[0].message)

    run(tmp_path, story)


def test_init_containers_run_in_order_and_sidecars_stay(tmp_path):
    trace = tmp_path / "trace"

    def note(word: str, then: str = "") -> str:
        return f"open({str(trace)!r}, 'a').write({word!r} + ' ')\n{then}"

    async def story(pods: Running) -> None:
        stay = "import time; time.sleep(60)"
        sidecar = container(note("sidecar", stay), name="side", restart_policy="Always")
        inits = (container(note("first"), name="one"), sidecar, container(note("second"), name="two"))
        pods.apply(pods=(pod(of=spec(container(note("main", stay)), init_containers=inits)),))
        await pods.until(lambda: pods.ready == 1 and "main" in trace.read_text())
        words = trace.read_text().split()
        assert words.index("first") < words.index("second") < words.index("main")
        assert words.index("first") < words.index("sidecar")

    run(tmp_path, story)


def test_an_init_container_that_fails_is_tried_again_before_anything_else_starts(tmp_path):
    flag = tmp_path / "flag"
    code = f"import pathlib, sys; p = pathlib.Path({str(flag)!r}); e = p.exists(); p.touch(); sys.exit(0 if e else 3)"

    async def story(pods: Running) -> None:
        pods.apply(pods=(pod(of=spec(init_containers=(container(code, name="prepare"),))),))
        await pods.until(lambda: pods.ready == 1)
        assert pods.rows[0].restarts == 1

    run(tmp_path, story)


def test_restart_policy_never_and_on_failure_end_where_they_say(tmp_path):
    async def story(pods: Running) -> None:
        never = spec(container("raise SystemExit(3)"), restart_policy="Never")
        done = spec(container("pass"), restart_policy="OnFailure")
        pods.apply(pods=(pod("never", never), pod("done", done)))
        await pods.until(lambda: [row.phase for row in pods.rows] == ["Succeeded", "Failed"])
        assert [row.restarts for row in pods.rows] == [0, 0]

    run(tmp_path, story)


def test_readiness_follows_the_probe_both_ways(tmp_path):
    bad = tmp_path / "bad"

    async def story(pods: Running) -> None:
        one = server(readiness_probe=EVERY_SECOND, env=(env("BAD_WHILE", str(bad)),))
        pods.apply(pods=(pod(of=spec(one)),))
        await pods.until(lambda: pods.ready == 1)
        bad.touch()
        await pods.until(lambda: pods.ready == 0)
        assert "status 500" in pods.rows[0].message
        bad.unlink()
        await pods.until(lambda: pods.ready == 1)
        assert pods.rows[0].restarts == 0

    run(tmp_path, story)


def test_an_initial_delay_holds_back_neither_startup_nor_readiness(tmp_path):
    async def story(pods: Running) -> None:
        slow = msgspec.structs.replace(ALIVE, initial_delay_seconds=300)
        by_command = Probe(exec=Exec((sys.executable, "-I", "-S", "-c", "")), initial_delay_seconds=300)
        pods.apply(
            pods=(
                pod("asked", of=spec(server(startup_probe=slow, readiness_probe=slow))),
                pod("told", of=spec(server(readiness_probe=by_command))),
            )
        )
        await pods.until(lambda: pods.ready == 2)

    run(tmp_path, story)


def test_failures_count_only_after_the_initial_delay():
    probe = Probe(tcp_socket=TcpSocket(1), initial_delay_seconds=1, period_seconds=1, failure_threshold=1)

    async def first(*, eager: bool) -> tuple[bool, float]:
        began = time.monotonic()
        async for well, _ in verdicts(probe, Target("127.0.0.1", {}), eager=eager):
            return well, time.monotonic() - began
        raise AssertionError

    async def both() -> list[tuple[bool, float]]:
        return await asyncio.gather(first(eager=True), first(eager=False))

    (started, after), (alive, later) = asyncio.run(both())
    assert (started, alive) == (False, False)
    assert after > 1.9  # the delay, and the period after which the first failure counts
    assert 0.9 < later < 1.9


def test_a_failing_liveness_probe_restarts_the_container(tmp_path):
    bad = tmp_path / "bad"

    async def story(pods: Running) -> None:
        one = server(liveness_probe=ALIVE, env=(env("BAD_WHILE", str(bad)),))
        pods.apply(pods=(pod(of=spec(one)),))
        await pods.until(lambda: pods.ready == 1)
        bad.touch()
        await pods.until(lambda: pods.rows[0].restarts == 1)
        bad.unlink()
        await pods.until(lambda: pods.ready == 1)
        assert any("liveness probe failed" in text for text in pods.said)

    run(tmp_path, story)


def test_a_startup_probe_holds_the_others_back(tmp_path):
    flag = tmp_path / "up"

    async def story(pods: Running) -> None:
        startup = Probe(exec=Exec(("test", "-e", str(flag))), period_seconds=1, failure_threshold=60)
        pods.apply(pods=(pod(of=spec(server(startup_probe=startup, liveness_probe=ALIVE))),))
        await pods.until(lambda: pods.rows and pods.rows[0].phase == "Running")
        await pods.until(lambda: any("http.server" in line for line in processes(tmp_path).values()))
        assert pods.ready == 0
        flag.touch()
        await pods.until(lambda: pods.ready == 1)
        assert pods.rows[0].restarts == 0

    run(tmp_path, story)


def test_without_a_readiness_probe_a_server_is_ready_when_it_accepts_connections(tmp_path):
    async def story(pods: Running) -> None:
        pods.apply(pods=(pod(of=spec(server(readiness_probe=None))),))
        await pods.until(lambda: pods.ready == 1)
        client = Client()
        assert (await client.fetch("GET", pods.servers[0].address, 8000, "/")).status == 200
        client.close()

    run(tmp_path, story)


def test_tcp_probes_connect_to_the_pod(tmp_path):
    async def story(pods: Running) -> None:
        probe = Probe(tcp_socket=TcpSocket(port="http", host="localhost"), period_seconds=1)
        pods.apply(pods=(pod(of=spec(server(readiness_probe=probe))),))
        await pods.until(lambda: pods.ready == 1)

    run(tmp_path, story)


def test_an_edited_config_map_reaches_the_volume_of_a_running_pod(tmp_path):
    async def story(pods: Running) -> None:
        code = "import os, time\nwhile True:\n    print(open('/config/a.txt').read(), flush=True)\n    time.sleep(0.05)"
        code = code.replace("open('/config/a.txt')", "open(os.environ['FILE'])")
        one = container(code, env=(env("FILE", "/config/a.txt"),), volume_mounts=(VolumeMount("cfg", "/config"),))
        volumes = (Volume("cfg", "configMap", config_map=ConfigMapVolume("settings")),)
        wanted = (pod(of=spec(one, volumes=volumes)),)
        pods.apply(pods=wanted)
        await pods.until(lambda: any("ConfigMap default/settings is not there" in text for text in pods.said))
        pods.apply(pods=wanted, config_maps=(config_map("settings", **{"a.txt": "before"}),))
        await pods.until(lambda: pods.ready == 1)
        log = Path(pods.rows[0].log)
        await pods.until(lambda: "before" in log.read_text())
        pods.apply(pods=wanted, config_maps=(config_map("settings", **{"a.txt": "after"}),))
        await pods.until(lambda: "after" in log.read_text(), 1.0)
        assert pods.rows[0].restarts == 0

    run(tmp_path, story)


def test_a_missing_config_map_key_is_waited_for(tmp_path):
    from headgate.api.workload import EnvSource, EnvVar, KeyRef

    async def story(pods: Running) -> None:
        wants = EnvVar("SAYS", value_from=EnvSource(config_map_key_ref=KeyRef("settings", "word")))
        wanted = (pod(of=spec(server(env=(wants,)))),)
        pods.apply(pods=wanted)
        await pods.until(lambda: pods.rows and "ConfigMap default/settings" in pods.rows[0].message)
        pods.apply(pods=wanted, config_maps=(config_map("settings", word="hello"),))
        await pods.until(lambda: pods.ready == 1)
        client = Client()
        assert (await client.fetch("GET", pods.servers[0].address, 8000, "/")).body == b"hello"
        client.close()

    run(tmp_path, story)


def test_pre_stop_comes_before_sigterm_and_the_grace_period_bounds_both(tmp_path):
    trace = tmp_path / "trace"
    stubborn = f"""
import signal, time
signal.signal(signal.SIGTERM, lambda *_: open({str(trace)!r}, "a").write("term "))
open({str(trace)!r}, "a").write("up ")
while True: time.sleep(0.01)
"""

    async def story(pods: Running) -> None:
        hook = Lifecycle(pre_stop=Hook(exec=Exec(("sh", "-c", f"printf 'hook ' >> {trace}"))))
        pods.apply(pods=(pod(of=spec(container(stubborn, lifecycle=hook), termination_grace_period_seconds=1)),))
        await pods.until(lambda: trace.exists() and "up" in trace.read_text())
        began = time.monotonic()
        pods.apply()
        await pods.until(lambda: not pods.rows)
        assert 0.9 < time.monotonic() - began < 3
        assert trace.read_text().split() == ["up", "hook", "term"]

    run(tmp_path, story)


def test_a_pre_stop_sleep_keeps_the_server_serving_and_stop_does_not_wait_for_it(tmp_path):
    async def story(pods: Running) -> None:
        hooks = [Hook(sleep=Sleep(30)), Hook(exec=Exec(("/bin/sh", "-c", "/bin/sleep 30")))]
        pods.apply(
            pods=tuple(
                pod(f"p{n}", spec(server(lifecycle=Lifecycle(pre_stop=hook)), termination_grace_period_seconds=60))
                for n, hook in enumerate(hooks)
            )
        )
        await pods.until(lambda: pods.ready == 2)
        pods.apply()
        await pods.until(lambda: all(found.draining for found in pods.servers))
        client = Client()
        for found in pods.servers:
            assert (await client.fetch("GET", found.address, 8000, "/")).status == 200
        client.close()
        began = time.monotonic()
        await pods.pods.stop(5)
        assert time.monotonic() - began < 3

    run(tmp_path, story)


def test_a_server_behind_a_shell_is_asked_to_stop_too(tmp_path):
    trace = tmp_path / "trace"
    code = f"""
import signal, sys, time
def end(*_):
    open({str(trace)!r}, "a").write("ended well")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open({str(trace)!r}, "w").write("up ")
while True: time.sleep(0.01)
"""
    script = tmp_path / "server.py"
    script.write_text(code)

    async def story(pods: Running) -> None:
        line = f"{sys.executable} -I -S {script}; echo after"
        pods.apply(pods=(pod(of=spec(Container(name="c", image="i", command=("sh", "-c", line)))),))
        await pods.until(lambda: trace.exists() and trace.read_text() == "up ")
        pods.apply()
        await pods.until(lambda: not pods.rows)
        assert trace.read_text() == "up ended well"

    run(tmp_path, story)


def test_what_a_container_left_in_the_background_ends_with_it(tmp_path):
    async def story(pods: Running) -> None:
        line = f"setsid sleep 1000 {tmp_path}/x & setsid sh -c 'sleep 999 & sleep 998' & exec sleep 997"
        pods.apply(pods=(pod(of=spec(Container(name="c", image="i", command=("sh", "-c", line)))),))
        await pods.until(lambda: len([x for x in processes(tmp_path).values() if x.startswith("sleep")]) >= 3)
        pods.apply()
        await pods.until(lambda: not pods.rows)
        assert not [line for line in processes(tmp_path).values() if line.startswith("sleep")]

    run(tmp_path, story)


def test_stop_while_pods_are_starting_leaves_no_process(tmp_path):
    for patience in (0.0, 0.01, 0.03, 0.06, 0.1):

        async def story(pods: Running, patience: float = patience) -> None:
            pods.apply(workloads=(workload(4),))
            await asyncio.sleep(patience)  # the moment is what is tried, not waited for

        run(tmp_path / str(patience), story)


def test_kill_ends_everything_at_once(tmp_path):
    async def story(pods: Running) -> None:
        stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)"
        pods.apply(pods=(pod(of=spec(container(stubborn), termination_grace_period_seconds=60)),))
        await pods.until(lambda: pods.ready == 1)
        began = time.monotonic()
        stopping = asyncio.create_task(pods.pods.stop(60))
        await asyncio.sleep(0)
        pods.pods.kill()
        assert time.monotonic() - began < 1
        assert not processes(tmp_path)
        await stopping

    run(tmp_path, story)


def test_the_spawner_killed_is_replaced_and_the_servers_come_back(tmp_path):
    async def story(pods: Running) -> None:
        pods.apply(pods=(pod(),))
        await pods.until(lambda: pods.ready == 1)
        (spawner,) = (pid for pid, line in processes(tmp_path).items() if "spawner.py" in line)
        os.kill(spawner, signal.SIGKILL)
        await pods.until(lambda: pods.rows[0].restarts == 1 and pods.ready == 1)

    run(tmp_path, story)


def env(name: str, value: str):
    from headgate.api.workload import EnvVar

    return EnvVar(name, value)


def test_a_state_directory_that_somebody_deletes_is_made_anew(tmp_path):
    reads = "import os; open(os.environ['WORDS'] + '/a'); os.chdir(os.environ['EMPTY'])\n"
    mounts = (VolumeMount("words", "/words"), VolumeMount("empty", "/empty"))
    volumes = (Volume("words", "configMap", config_map=ConfigMapVolume("words")), Volume("empty"))
    reader = container(
        reads + SERVER,
        ports=(ContainerPort(8000, "http"),),
        readiness_probe=EVERY_SECOND,
        volume_mounts=mounts,
        env=(env("WORDS", "/words"), env("EMPTY", "/empty")),
    )
    shell = Container(
        "c", "x", ("sh", "-c", "vllm serve m"), ports=(ContainerPort(8000, "http"),), readiness_probe=EVERY_SECOND
    )
    state = tmp_path / "state"

    async def story(pods: Running) -> None:
        objects = {"config_maps": (config_map("words", a="1"),), "pods": (pod("p", spec(reader, volumes=volumes)),)}
        pods.apply(**objects)
        await pods.until(lambda: pods.ready == 1)
        shutil.rmtree(state)
        for pid, line in processes(state).items():
            if "http.server" in line or "spawner.py" in line:
                os.kill(pid, signal.SIGKILL)
        await pods.until(lambda: pods.rows[0].restarts == 1 and pods.ready == 1)
        shutil.rmtree(state)
        pods.apply(**objects, workloads=(workload(1, spec(shell), annotations={}),))
        await pods.until(lambda: pods.ready == 2)
        assert state.stat().st_mode & 0o777 == 0o700
        assert (state / "token").read_text()
        assert not any("no program" in text for text in pods.said)

    run(state, story, speed=0.0)


def test_what_is_missing_at_a_start_is_named(tmp_path):
    async def story() -> None:
        spawner = Spawner(sys.executable, tmp_path / "spawner.log", "test-of-names")
        try:
            for argv, cwd, log, missing in (
                (("true",), f"{tmp_path}/no", "l", f"{tmp_path}/no: No such file or directory"),
                (("true",), str(tmp_path), "no/l", f"{tmp_path}/no/l: No such file or directory"),
                (("no-such-program",), str(tmp_path), "l", "no program 'no-such-program' on this machine"),
                ((str(tmp_path),), str(tmp_path), "l", f"{tmp_path}: Permission denied"),
            ):
                with pytest.raises(SpawnError) as found:
                    await spawner.start(argv, dict(os.environ), cwd, str(tmp_path / log))
                assert str(found.value) == missing
        finally:
            await spawner.close()

    asyncio.run(story())


def test_two_that_run_beside_each_other_share_no_address(tmp_path):
    async def story(pods: Running) -> None:
        other = Running(tmp_path / "other")
        try:
            pods.apply(pods=(pod("a"),))
            other.apply(pods=(pod("b"),))
            await pods.until(lambda: pods.ready == 1 and other.ready == 1)
            assert pods.servers[0].address != other.servers[0].address
        finally:
            await other.pods.stop(1)

    run(tmp_path, story)


def test_a_port_that_is_declared_and_not_http_is_no_reason_to_wait_for_udp(tmp_path):
    async def story(pods: Running) -> None:
        udp = container("import time; time.sleep(60)", ports=(ContainerPort(53, protocol="UDP"),))
        pods.apply(pods=(pod(of=spec(udp)),))
        await pods.until(lambda: pods.ready == 1)

    run(tmp_path, story)


def test_headgate_killed_with_sigkill_leaves_no_process(tmp_path):
    script = tmp_path / "host.py"
    script.write_text(f"""
import asyncio, os, pathlib, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from workloads import no_process_left, wait_until, Running, container, pod, spec, workload

async def main():
    pods = Running(pathlib.Path({str(tmp_path / "state")!r}))
    stray = container("import os; os.system('setsid sleep 1000 &'); os.execvp('sleep', ['sleep', '1001'])")
    pods.apply(workloads=(workload(2),), pods=(pod("stray", spec(stray)),))
    await pods.until(lambda: pods.ready == 3)
    pathlib.Path({str(tmp_path / "ready")!r}).touch()
    await asyncio.sleep(1000)

asyncio.run(main())
""")
    with subprocess.Popen([sys.executable, str(script)]) as host, no_process_left(tmp_path / "state"):
        wait_until(lambda: (tmp_path / "ready").exists())
        wait_until(lambda: sum("sleep 100" in line for line in processes(tmp_path / "state").values()) == 2)
        host.kill()


def test_a_log_stays_within_its_bound(tmp_path):
    async def story(pods: Running) -> None:
        chatty = "import time\nwhile True: print('x' * 99_999); time.sleep(0.001)"
        pods.apply(pods=(pod(of=spec(container(chatty))),))
        log = tmp_path / "logs" / "default_p_main.log"
        await pods.until(lambda: log.with_suffix(".log.1").exists())
        await pods.until(lambda: 0 < log.stat().st_size < LOG_LIMIT)

    run(tmp_path, story)


def test_an_image_that_can_not_run_here_is_said_once_and_holds_up_nothing_else(tmp_path):
    async def story(pods: Running) -> None:
        other = spec(Container(name="c", image="nginx:1.27"))
        done = spec(Container(name="c", image="registry.k8s.io/gateway-api-inference-extension/epp:v1"))
        pods.apply(
            workloads=(workload(2, other, "nginx", annotations={}), workload(1, done, "epp", annotations={})),
            pods=(pod("fine"),),
        )
        await pods.until(lambda: pods.ready == 1 and not any(row.pending for row in pods.rows))
        epp, fine, *nginx = sorted(pods.rows, key=lambda row: row.name[8])
        assert (epp.ready, epp.message) == (True, "c: done by headgate")
        assert fine.ready
        assert [row.message for row in nginx] == ["c: image nginx:1.27 can't run on this machine"] * 2
        assert sum("nginx:1.27" in text for text in pods.said) == 1
        assert "headgate.dev/run" in next(text for text in pods.said if "nginx:1.27" in text)
        assert not any(found.name.startswith("epp") for found in pods.servers)

    run(tmp_path, story)


def test_a_server_that_runs_elsewhere_is_followed_by_its_probe(tmp_path):
    async def story(pods: Running) -> None:
        pods.apply(pods=(pod("here"),))
        await pods.until(lambda: pods.ready == 1)
        address = pods.servers[0].address
        at = {"headgate.dev/address": f"{address}:8000"}
        probe = Probe(http_get=HttpGet(port="http-of-the-image", path="/health"), period_seconds=1, failure_threshold=1)
        outside = pod("there", spec(Container(name="c", image="i", readiness_probe=probe)), at)
        pods.apply(pods=(pod("here"), outside))
        await pods.until(lambda: pods.ready == 2)
        assert [found.port for found in pods.servers] == [None, 8000]
        pods.apply(pods=(outside,))
        await pods.until(lambda: pods.servers and not pods.servers[-1].ready)

    run(tmp_path, story)


def test_labels_of_a_bare_pod_change_while_it_runs(tmp_path):
    async def story(pods: Running) -> None:
        pods.apply(pods=(pod(labels={"role": "blue"}),))
        await pods.until(lambda: pods.ready == 1)
        pods.apply(pods=(pod(labels={"role": "green"}),))
        await pods.until(lambda: pods.servers[0].labels == {"role": "green"})
        assert pods.ready == 1
        assert pods.rows[0].restarts == 0

    run(tmp_path, story)


def test_a_post_start_hook_runs_before_the_pod_is_ready_and_its_failure_restarts_the_container(tmp_path):
    trace = tmp_path / "trace"

    async def story(pods: Running) -> None:
        hook = Hook(exec=Exec(("sh", "-c", f"echo x >> {trace}; test $(wc -l < {trace}) -gt 1")))
        pods.apply(pods=(pod(of=spec(server(lifecycle=Lifecycle(post_start=hook)))),))
        await pods.until(lambda: pods.ready == 1)
        assert pods.rows[0].restarts == 1
        assert trace.read_text() == "x\nx\n"

    told = run(tmp_path, story).said
    assert "postStart failed" in told[0]


def test_a_grpc_probe_opens_a_connection(tmp_path):
    async def story(pods: Running) -> None:
        good, bad = (Probe(grpc=GrpcCheck(port), period_seconds=1, failure_threshold=1) for port in (8000, 8001))
        servers = (pod("good", spec(server(readiness_probe=good))), pod("bad", spec(server(readiness_probe=bad))))
        pods.apply(pods=servers)
        await pods.until(lambda: pods.ready == 1)
        await pods.until(lambda: "connection refused" in pods.rows[0].message)

    run(tmp_path, story)
