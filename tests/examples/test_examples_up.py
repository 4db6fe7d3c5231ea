"""Each example comes up, and its README's commands answer as it says."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import pytest
from example_readme import EXAMPLES, agrees, commands

NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


class Running:
    """An example that runs on addresses of its own, from a copy of its files: what is edited is the copy."""

    def __init__(self, name, directory):
        number = 2 + (zlib.crc32(name.encode()) + os.getpid()) % 250
        self.address = f"127.76.{number}.1"
        self.directory = directory
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HEADGATE_STATE": str(directory / "state"),
        }
        shutil.copytree(EXAMPLES, directory / "examples")
        up = commands(name)[0].script.split()
        own = ["--address", self.address, "--metrics", f"{self.address}:9090"]
        own += ["--pod-network", f"127.75.{number}.0/24", "--sim-speed", "0", "--grace", "2"]
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*up, *own], cwd=directory, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def run(self, script):
        """What a script of the README prints."""
        for port in (8080, 9090):
            script = script.replace(f"127.0.0.1:{port}", f"{self.address}:{port}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace("curl ", "curl -sS --max-time 20 ")],
            cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}\n{self.log.read_text()}"
        return done.stdout

    def wait_until_ready(self, seconds=40.0):
        deadline = time.monotonic() + seconds
        while "Ready after" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def stop(self):
        """SIGTERM, and what becomes of it. Nothing of the example runs afterwards."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture(params=NAMES)
def example(request):
    # Not tmp_path: the name of a Unix socket below it must stay short.
    with tempfile.TemporaryDirectory(prefix="headgate-") as directory:
        running = Running(request.param, Path(directory))
        try:
            running.wait_until_ready()
            yield request.param, running
        finally:
            running.stop()


def test_the_readmes_commands_answer_as_it_says(example):
    name, running = example
    for command in commands(name)[1:]:
        output = running.run(command.script)
        assert agrees(output, command.answer), f"{command.script}\nanswers\n{output}\nand not\n{command.answer}"
    assert "Traceback" not in running.log.read_text()
    assert running.stop() == 0


@pytest.mark.parametrize("example", ["criticality-and-canary"], indirect=True)
def test_of_a_thousand_requests_about_a_hundred_go_to_the_canary(example):
    _, running = example
    script = next(command.script for command in commands(example[0]) if "[1-1000]" in command.script)
    counts = dict.fromkeys(("food-review", "food-review-v2"), 0)
    for line in running.run(script).splitlines():
        for target in counts:
            if f'target_model="{target}"' in line and 'code="200"' in line:
                counts[target] += int(float(line.rpartition(" ")[2]))
    assert sum(counts.values()) == 1000, counts
    # Four standard deviations of a binomial count: one run in 16,000 lies outside.
    assert 62 <= counts["food-review-v2"] <= 138, counts


@pytest.mark.parametrize("example", ["lora-multi-model"], indirect=True)
def test_guide_1s_two_curls_are_served_by_a_server_that_has_the_model(example):
    _, running = example
    for command in [each for each in commands("lora-multi-model") if "meaning of life" in each.script]:
        answer = running.run(command.script.replace("curl ", "curl -i "))
        assert answer.startswith("HTTP/1.1 200 OK"), answer
