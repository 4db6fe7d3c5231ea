"""Stops what runs too long: code of users that is called in the middle of everything else."""

import atexit
import ctypes
import signal
import threading
from collections.abc import Callable
from time import perf_counter
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_AGAIN_S = 1.0  # for code that catches even this and goes on


class Overrun(BaseException):
    """Its time is over. No Exception: code that catches those shall not catch this by mistake."""


class Alarm:
    """One for each process, for the thread that runs the event loop. By SIGALRM, which Python handles between two of
    its instructions and in the middle of system calls: `while True: pass` is stopped, and so is `time.sleep`.

    Half of the time is given, and then, after a look, the other half: a process that the machine did not let run (a
    limit of CPU, a virtual machine that paused) goes on for a moment after the first, and has done nothing wrong.

    A call costs 0.4 µs: the timer is set anew only when it has gone off, not for each.
    """

    def __init__(self) -> None:
        self._ends = 0.0  # of what runs now; 0 where nothing does
        self._half = 0.0  # of its time, until that has begun
        self._rings = 0.0  # when the timer goes off; 0 where it is not set
        self._ready = False
        self._thread = threading.main_thread().ident

    def call(self, seconds: float, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """What `work` returns. Raises Overrun where it took longer, and what `work` raises."""
        if threading.get_ident() != self._thread:
            return _call_in_thread(seconds, work, *args, **more)
        try:
            self._half = seconds / 2
            self._set(perf_counter() + self._half)
            try:
                return work(*args, **more)
            finally:
                self._ends = 0.0
        except Overrun:
            self._ends = 0.0  # it may have come when that was about to be done
            raise

    def _set(self, ends: float) -> None:
        if not self._ready:
            signal.signal(signal.SIGALRM, self._ring)
            # Python gives signals back when it ends: a timer that is still set would kill the process.
            atexit.register(signal.setitimer, signal.ITIMER_REAL, 0.0)
            self._ready = True
        self._ends = ends
        if not 0.0 < self._rings <= ends:
            self._rings = ends
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, ends - perf_counter()))

    def _ring(self, number: int, frame: object) -> None:
        self._rings = 0.0
        ends = self._ends
        if not ends:
            return
        now = perf_counter()
        if now < ends:  # it was set for one before
            self._set(ends)
            return
        if self._half:
            half, self._half = self._half, 0.0
            self._set(now + half)
            return
        # Not sooner: the exception has to find its way out before the next one comes.
        self._set(now + _AGAIN_S)
        raise Overrun


def _call_in_thread(seconds: float, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """The same where no signal comes. A system call is not stopped; what follows it is."""
    thread, lock, over = threading.get_ident(), threading.Lock(), False
    late = False

    def ring() -> None:
        nonlocal late
        with lock:
            if not over:
                late = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Overrun))

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        found = work(*args, **more)
    finally:
        with lock:
            over = True
            if late:  # unless it has come already it must not come any more
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)
        timer.cancel()
    if late:
        raise Overrun
    return found
