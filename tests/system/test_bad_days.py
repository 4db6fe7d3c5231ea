"""`headgate up` on a bad day: stopped too early, its terminal gone, its port taken, its disk full."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from running import Running
from written import GATEWAY, deployment, system, write

FAST = ("--sim-speed", "0")


def test_it_can_be_stopped_at_any_moment_of_its_start(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests", replicas=2)
    started = []
    for number, delay in enumerate((0.1, 0.25, 0.4, 0.6, 0.9, 1.3)):
        running = Running(tmp_path / str(number), manifests)
        (tmp_path / str(number)).mkdir()
        running.process = subprocess.Popen(
            running.command, env=running.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append((time.monotonic() + delay, running))
    for when, running in started:
        time.sleep(max(0.0, when - time.monotonic()))
        running.process.send_signal(signal.SIGTERM)
    for _, running in started:
        said = running.process.communicate(timeout=20)[1]
        # Before Python itself has begun nobody can hear a signal.
        assert running.process.returncode == 0 or (running.process.returncode == -signal.SIGTERM and not said), said
        assert "Traceback" not in said
        assert not running.left()


def test_slow_standard_input_can_be_interrupted(tmp_path: Path) -> None:
    running = Running(tmp_path, "-")
    process = subprocess.Popen(running.command, env=running.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    _until_it_reads(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()


def _until_it_reads(pid: int) -> None:
    deadline = time.monotonic() + 20
    while b"pipe" not in Path(f"/proc/{pid}/wchan").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_manifests_from_standard_input_stay_when_a_file_changes(tmp_path: Path) -> None:
    gateway = tmp_path / "gateway.yaml"
    manifests = system(tmp_path / "manifests")
    (manifests / "gateway.yaml").rename(gateway)
    texts = "\n---\n".join(file.read_text() for file in sorted(manifests.glob("*.yaml")))
    with Running(tmp_path, "-", gateway, args=FAST, given=texts) as gate:
        gateway.write_text(GATEWAY.replace("port: 80", "port: 81"))
        gate.until(lambda: _status(f"http://{gate.address}:8081/v1/models") == 200)
        assert len(gate.servers()) == 1


def test_a_closed_terminal_ends_it_in_order_unless_nohup_was_said(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        with Running(tmp_path, manifests, args=FAST) as gate:
            assert gate.stop(signal.SIGHUP) == 0
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with Running(tmp_path, manifests, args=FAST) as gate:
            gate.process.send_signal(signal.SIGHUP)
            write(manifests, gateway=GATEWAY.replace("port: 80", "port: 81"))
            gate.until(lambda: _status(f"http://{gate.address}:8081/v1/models") == 200)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_it_goes_on_when_nobody_listens_to_it_any_more(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    log = tmp_path / "said"
    running = Running(tmp_path, manifests, args=(*FAST, "--access-log", "-"))
    pipe, end = os.pipe()
    process = running.process = subprocess.Popen(
        running.command, env=running.environment, stdout=end, stderr=log.open("w")
    )
    os.close(end)
    try:
        running.until(lambda: "Ready after" in log.read_text(), 30)
        os.close(pipe)
        assert _status(f"http://{running.address}:8080/v1/models") == 200
        running.until(lambda: "The access log can't be written (Broken pipe)" in log.read_text())
        write(manifests, gateway=GATEWAY.replace("port: 80", "port: 81"))
        running.until(lambda: _status(f"http://{running.address}:8081/v1/models") == 200)
        before = _cpu(process.pid)
        time.sleep(0.5)  # what is measured is that half second
        assert _cpu(process.pid) - before < 0.3
    finally:
        process.terminate()
    assert process.wait(15) == 0
    assert "Traceback" not in log.read_text()
    assert not running.left()


def test_a_stopped_terminal_stops_nobody(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    running = Running(tmp_path, manifests, args=FAST)
    out, end = os.pipe()
    os.set_blocking(end, False)
    while True:  # nobody reads, and there is no room
        try:
            os.write(end, b" " * 65536)
        except BlockingIOError:
            break
    os.set_blocking(end, True)
    process = running.process = subprocess.Popen(running.command, env=running.environment, stdout=end, stderr=end)
    try:
        running.until(lambda: _status(f"http://{running.address}:8080/v1/models") == 200, 30)
    finally:
        process.terminate()
    assert process.wait(15) == 0
    assert not running.left()
    os.close(out)
    os.close(end)


def test_a_full_disk_costs_log_lines_and_nothing_else(tmp_path: Path) -> None:
    with Running(tmp_path, system(tmp_path / "manifests"), args=(*FAST, "--access-log", "/dev/full")) as gate:
        for _ in range(3):
            assert _status(f"http://{gate.address}:8080/v1/models") == 200
        gate.until(lambda: gate.said("The access log can't be written (No space left on device)"))
        gate.until(lambda: _status(f"http://{gate.address}:8080/v1/models") == 200)
    assert sum("access log" in line for line in gate.lines) == 1


def test_a_port_that_is_taken_is_said_and_had_when_it_is_free(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    write(manifests, gateway=GATEWAY + "  - {name: second, protocol: HTTP, port: 81}\n")
    running = Running(tmp_path, manifests, args=FAST)
    with socket.socket() as other:
        other.bind((running.address, 8081))
        other.listen()
        with running as gate:
            assert gate.said(f"Gateway default/gw is not served at {gate.address}:8081: another process has port 8081")
            states = {row["listener"]: str(row["status"]) for row in gate.get("gateways")}
            assert states["http"] == "Programmed"
            assert states["second"].startswith("Not served: another process")
            assert _status(f"http://{gate.address}:8080/v1/models") == 200
            other.close()
            gate.until(lambda: gate.said(f"Gateway default/gw is served at {gate.address}:8081 now."))
            assert _status(f"http://{gate.address}:8081/v1/models") == 200
            assert sum("8081" in line for line in gate.lines) == 2


def test_a_state_directory_with_a_long_or_relative_name_will_do(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    long = tmp_path / ("long" * 40)
    with Running(long, manifests, args=FAST) as gate:
        assert [row["ready"] for row in gate.get("pods")] == ["yes"]
    relative = Path(os.path.relpath(tmp_path / "relative", Path(__file__).parents[2]))
    with Running(relative, manifests, args=FAST) as gate:
        assert [row["ready"] for row in gate.get("pods")] == ["yes"]
        assert str(gate.get("pods")[0]["log"]).startswith("/")


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "said"),
    [
        (["up"], {}, 2, "which manifests?"),
        (["up", "x", "--engin", "sim"], {}, 2, "--engin is not known; did you mean --engine?"),
        (["up", "x", "--metrics", "here"], {}, 2, "write HOST:PORT, a port alone, or off"),
        (["up", "x", "--address", "127.0.0.1:8080"], {}, 2, "write an address or a name, without a port"),
        (["up", "x", "--wait", "-1"], {}, 2, "must be 0 or more"),
        (["up", "x", "--wait", "nan"], {}, 2, "must be 0 or more"),
        (["up", "x", "--scrape-interval", "0"], {}, 2, "must be 0.01 or more"),
        (["up", "x", "--scrape-interval", "5"], {}, 2, "must be 1 or less"),
        (["up", "x", "--body-limit", "much"], {}, 2, "'much' is not a number"),
        (["up", "x", "--name", "../x"], {}, 1, "use letters, digits"),
        (["up", "x"], {"HEADGATE_STATE": "/proc/nowhere"}, 1, "/proc/nowhere/default can't be used"),
        (["up", "x", "--access-log", "/proc/nowhere"], {}, 1, "--access-log /proc/nowhere: "),
        (["up", "x", "--engine", "vllm"], {"HEADGATE_VLLM_PYTHON": "/bin/false"}, 1, "no module `vllm` in /bin/false"),
        (["up", "x"], {}, 1, "There is nothing to run."),
        (["gateway", "--config", "x"], {}, 1, "x: no such file or directory"),
        (["gateway", "--kubernetes", "x"], {}, 2, "give no files"),
        (["gateway", "--kubernetes", "--kubeconfig", "/proc/nowhere"], {}, 1, "/proc/nowhere: No such file"),
        (["epp", "--pool-name", "p", "--kubernetes", "x"], {}, 2, "give no files"),
        (["epp", "--pool-name", "p", "--kubeconfig", "/proc/nowhere"], {}, 1, "/proc/nowhere: No such file"),
        (["get", "pods"], {}, 1, "no headgate is running here; start one with: headgate up PATH"),
        (["get", "pods", "--name", "x"], {}, 1, "headgate up PATH --name x"),
        (["get", "nodes"], {}, 2, "choose from 'gateways', 'routes'"),
        (["explain"], {}, 2, "REQUEST_ID"),
        (["check", "x"], {}, 1, ""),
        (["check", "-"], {}, 0, ""),
    ],
)
def test_a_command_that_can_not_be_done_is_answered_in_a_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], status: int, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headgate", *arguments],
        env={"PATH": "/usr/bin:/bin", "HEADGATE_STATE": str(tmp_path), **environment},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_who_has_read_enough_is_told_no_more() -> None:
    root = Path(__file__).parents[2]
    command = (
        f'"{sys.executable}" -m headgate translate "{root}/examples/vllm-llama3" | head -1; echo "${{PIPESTATUS[0]}}"'
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20)
    assert done.stdout.splitlines()[1] in ("0", "141")
    assert done.stderr == ""


def test_every_verb_teaches_with_examples() -> None:
    for verb in ("up", "gateway", "check", "translate", "get", "explain"):
        told = subprocess.run(
            [sys.executable, "-m", "headgate", verb, "--help"], capture_output=True, text=True, timeout=20
        ).stdout
        assert re.search(rf"^  headgate {verb} ", told, re.MULTILINE), told
        assert verb == "gateway" or "Exit status" in told


def _status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def _cpu(pid: int) -> float:
    """Seconds of CPU that the process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_change_is_in_force_when_its_pods_are_ready_and_a_mended_mistake_is_said(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    with Running(tmp_path, manifests, args=FAST) as gate:
        write(manifests, vllm=deployment(2))
        gate.until(lambda: gate.said("The change is in force"))
        assert [row["state"] for row in gate.get("endpoints")] == ["ready", "ready"]
        write(manifests, gateway="kind: [")
        gate.until(lambda: gate.said("gateway.yaml:"))
        write(manifests, gateway=GATEWAY)
        gate.until(lambda: gate.said("The mistakes are mended, and nothing has changed."))
