"""One function of a user's policy: asked, watched, skipped where it fails, and switched off where it does so again."""

from collections.abc import Callable, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any

from headgate.pick.python import Asked, Candidate
from headgate.runtime.alarm import Alarm, Overrun

FAULTS_IN_A_ROW = 5
LIMIT_S = 0.05  # what has not returned by then is stopped
REASONS = ("raised", "wrong", "slow", "stopped")


class _Slow(Exception):
    pass


class _Wrong(Exception):
    pass


class Policy:
    """Mutable. `wrong` says what is wrong with an answer, `clock` is the `now` of the function.

    Costs 0.4 µs for each endpoint, and what the function costs itself.
    """

    __slots__ = (
        "__weakref__",
        "_alarm",
        "_budget_s",
        "_clock",
        "_file",
        "_function",
        "_in_a_row",
        "_say",
        "_timer",
        "_told",
        "_wrong",
        "calls",
        "faults",
        "name",
        "off",
        "seconds",
    )

    def __init__(
        self,
        name: str,
        file: str,
        function: Callable[..., Any],
        wrong: Callable[[object], str],
        budget_s: float,
        alarm: Alarm,
        clock: Callable[[], float],
        say: Callable[[str], None],
        off: str = "",
        timer: Callable[[], float] = perf_counter,
    ) -> None:
        self.name = name
        self.calls = 0
        self.seconds = 0.0
        self.faults = dict.fromkeys(REASONS, 0)
        self.off = off  # why it is not asked (any more)
        self._file = file
        self._function = function
        self._wrong = wrong
        self._budget_s = budget_s
        self._alarm = alarm
        self._clock = clock
        self._say = say
        self._timer = timer
        self._in_a_row = 0
        self._told = False

    def __call__(self, asked: Asked, candidates: Sequence[Candidate]) -> Sequence[float] | str:
        """Its answers about all of them, or why there are none."""
        if self.off:
            return self.off
        self.calls += 1
        began = self._timer()
        try:
            answers = self._alarm.call(LIMIT_S, self._ask, asked, candidates, began + self._budget_s)
        except Overrun:
            return self._failed("stopped", f"ran for {LIMIT_S * 1000:g} ms and was stopped", began)
        except _Slow:
            took = self._timer() - began
            return self._failed("slow", f"took {took * 1000:.1f} ms of its {self._budget_s * 1000:g}", began)
        except _Wrong as error:
            return self._failed("wrong", str(error), began)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: it is not the policy's to end the gateway
            what = f"raised {type(error).__name__}: {error}"[:200]
            return self._failed("raised", f"{what} (line {line_of(error.__traceback__, self._file)})", began)
        self._in_a_row = 0
        self.seconds += self._timer() - began
        return answers

    def _ask(self, asked: Asked, candidates: Sequence[Candidate], ends: float) -> list[float]:
        function, wrong, timer, now = self._function, self._wrong, self._timer, self._clock()
        answers = []
        for candidate in candidates:
            answer = function(asked, candidate, now)
            if said := wrong(answer):
                raise _Wrong(f"{said} ({candidate.name})")
            if timer() > ends:
                raise _Slow
            answers.append(answer)
        return answers

    def _failed(self, reason: str, why: str, began: float) -> str:
        self.seconds += self._timer() - began
        self.faults[reason] += 1
        self._in_a_row += 1
        if reason == "stopped" or self._in_a_row >= FAULTS_IN_A_ROW:
            times = "" if reason == "stopped" else f" after {FAULTS_IN_A_ROW} faults in a row, the last"
            self.off = f"switched off{times}: it {why}"
            self._say(f"Policy {self.name} ({self._file}) is {self.off}. The next edit of the file switches it on.")
        elif not self._told:
            self._told = True
            self._say(f"Policy {self.name} ({self._file}) {why}: it was skipped, and is asked again.")
        return self.off or why


def line_of(traceback: TracebackType | None, file: str) -> int:
    """Where in the file it was, 0 where it was not."""
    line = 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
