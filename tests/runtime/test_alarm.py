"""What runs too long is stopped, and nothing else is."""

import asyncio
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import uvloop

from headgate.runtime.alarm import Alarm, Overrun


def spin() -> None:
    while True:
        pass


def test_code_that_never_ends_is_stopped_in_time_and_what_follows_is_left_alone() -> None:
    alarm = Alarm()
    for work in (spin, lambda: time.sleep(60), lambda: re.match(r"(a+)+$", "a" * 40 + "b")):
        began = time.perf_counter()
        with pytest.raises(Overrun):
            alarm.call(0.02, work)
        assert time.perf_counter() - began < 5
    waited = threading.Event()
    assert not waited.wait(0.05)  # nothing rings here


def test_what_ends_in_time_gives_what_it_gives_and_raises_what_it_raises() -> None:
    alarm = Alarm()
    assert alarm.call(5.0, lambda a, b: a + b, 1, b=2) == 3
    with pytest.raises(ZeroDivisionError):
        alarm.call(5.0, lambda: 1 / 0)


def test_a_long_limit_before_does_not_lengthen_a_short_one() -> None:
    alarm = Alarm()
    alarm.call(30.0, lambda: None)
    began = time.perf_counter()
    with pytest.raises(Overrun):
        alarm.call(0.02, spin)
    assert time.perf_counter() - began < 5


def test_a_timer_of_one_that_ended_does_not_ring_for_the_next() -> None:
    """The timer is set once for many calls."""
    alarm = Alarm()
    ends = time.perf_counter() + 0.2
    while time.perf_counter() < ends:
        alarm.call(0.05, lambda: None)


def test_who_catches_it_once_is_stopped_the_next_time() -> None:
    def stubborn() -> None:
        try:
            spin()
        except BaseException:
            spin()

    began = time.perf_counter()
    with pytest.raises(Overrun):
        Alarm().call(0.01, stubborn)
    assert 1.0 < time.perf_counter() - began < 10


def test_elsewhere_than_in_the_main_thread_too() -> None:
    alarm, found = Alarm(), []

    def run() -> None:
        for work in (spin, lambda: 7):
            try:
                found.append(alarm.call(0.05, work))
            except Overrun:
                found.append("stopped")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert found == ["stopped", 7]


def test_the_event_loop_lives_on() -> None:
    async def main() -> int:
        alarm = Alarm()
        with pytest.raises(Overrun):
            alarm.call(0.01, spin)
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        return await process.wait()

    assert uvloop.run(main()) == 0
    signal.setitimer(signal.ITIMER_REAL, 0)


def test_a_process_ends_as_it_likes_with_the_timer_set() -> None:
    code = "from headgate.runtime.alarm import Alarm\nAlarm().call(0.02, int)\nimport threading, time\n"
    code += "import atexit\natexit.register(time.sleep, 0.1)\n"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


def test_who_was_not_let_run_has_a_moment_to_finish() -> None:
    """The process stands still, as when a limit of CPU is reached, and what it did was nearly done."""

    code = "import os, signal, subprocess\nfrom headgate.runtime.alarm import Alarm\n"
    code += "child = subprocess.Popen(['sh', '-c', f'sleep 0.3; kill -CONT {os.getpid()}'])\n"
    code += "def held_up():\n    os.kill(os.getpid(), signal.SIGSTOP)\n    return 7\n"
    code += "print(Alarm().call(0.1, held_up))\nchild.wait()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("7\n", "")
