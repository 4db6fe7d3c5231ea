"""The process that starts every container's process, and sees to it that none outlives Headgate.

Run as `python -I -S spawner.py SOCKET_FD TOKEN`; standard library only, so that it starts in 30 ms. It is a process of
its own, like a container runtime's shim, because that is what makes "nothing is left behind" true:

- it is the reaper of all descendants (PR_SET_CHILD_SUBREAPER), also of those that left their process group;
- when Headgate ends, however that happens, the socket closes, and everything is killed;
- when it is killed itself, its children get SIGKILL from the kernel (PR_SET_PDEATHSIG), and the next spawner, which
  knows them by the TOKEN in their environment, kills what they had started;
- it is small and has one thread, so forking is cheap and running code in the child before exec is safe.

It also keeps logs short, which would otherwise be work for the event loop that serves requests.

Messages are lines of JSON. In: {"do": "start", "id", "argv", "env", "cwd", "log"}, {"do": "stop", "id"} (SIGTERM to
the process; once it has ended, to what is left of its group), {"do": "kill", "id"} (SIGKILL to all of it).
Out: {"id", "pid"} or {"id", "error"} after a start; {"id", "code"} at the end, negative for a signal.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import sys
import time

LOG_LIMIT = 10_000_000  # bytes; one older file of that size is kept
MARK = "HEADGATE_CONTAINER"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_RESET = [signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD]


class Job:
    """One container's process; its process group and session have its pid."""

    def __init__(self, name: int, pid: int, log: str) -> None:
        self.name = name
        self.pid = pid
        self.log = log
        self.code: int | None = None  # set when the process itself has ended
        self.stopping = False
        self.killed = False


class Spawner:
    def __init__(self, control: socket.socket, token: str) -> None:
        self.control = control
        self.token = token
        self.jobs: dict[int, Job] = {}
        self.ending = False
        self.linux = sys.platform == "linux"
        self.libc = ctypes.CDLL(None) if self.linux else None
        self.wake, self.waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self.waker, False)

    def run(self) -> None:
        if self.libc is not None:
            self.libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            self.libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.asked_to_end)
        try:
            self.kill_strays(self.token, everywhere=True)
            self.serve()
        finally:
            self.end()

    def asked_to_end(self, *_: object) -> None:
        # No exception from here: it could strike in the middle of `end`, which comes at the same moment.
        self.ending = True

    def serve(self) -> None:
        unread = b""
        rotated = 0.0
        while not self.ending:
            clearing = any(job.code is not None for job in self.jobs.values())
            control = self.control.fileno()
            ready, _, _ = select.select([control, self.wake], [], [], 0.02 if clearing else 1.0)
            if self.wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake, 4096)
            if control in ready:
                try:
                    data = self.control.recv(1 << 16)
                except ConnectionError:
                    return
                if not data:
                    return
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    self.obey(json.loads(line))
            self.reap()
            self.clear()
            if time.monotonic() - rotated >= 1.0:
                rotated = time.monotonic()
                self.rotate()

    def obey(self, order: dict) -> None:  # type: ignore[type-arg]  # a JSON object
        name = order["id"]
        job = self.jobs.get(name)
        if order["do"] == "start":
            try:
                pid = self.launch(name, order["argv"], order["env"], order["cwd"], order["log"])
            except OSError as error:
                self.tell({"id": name, "error": _words(error, order["argv"][0])})
                return
            self.jobs[name] = Job(name, pid, order["log"])
            self.tell({"id": name, "pid": pid})
        elif job is not None and order["do"] == "stop":
            job.stopping = True
            if job.code is None:
                _signal(os.kill, job.pid, signal.SIGTERM)
        elif job is not None:
            job.killed = True
            self.kill(job)

    def launch(self, name: int, argv: list[str], env: dict[str, str], cwd: str, log: str) -> int:
        """The pid of a new process in a session of its own. Raises OSError when it can't be started."""
        env = {**env, MARK: f"{self.token}-{name}-"}
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        failure, report = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                if self.libc is not None:
                    self.libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                    if os.getppid() != parent:
                        os._exit(1)
                signal.set_wakeup_fd(-1)
                for number in _RESET:  # exec keeps ignored signals ignored, and Python ignores SIGPIPE
                    signal.signal(number, signal.SIG_DFL)
                nothing = os.open(os.devnull, os.O_RDONLY)
                os.dup2(nothing, 0)
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.chdir(cwd)
                os.execvpe(argv[0], argv, env)
            except OSError as error:
                what = cwd if error.filename == cwd else argv[0]
                os.write(report, os.fsencode(f"{error.errno} {what}"))
            finally:
                os._exit(127)
        os.close(report)
        os.close(output)
        with os.fdopen(failure, "rb") as pipe:
            said = pipe.read()
        if said:
            os.waitpid(pid, 0)
            errno, _, what = os.fsdecode(said).partition(" ")
            raise OSError(int(errno), os.strerror(int(errno)), what)
        return pid

    def reap(self) -> None:
        by_pid = {job.pid: job for job in self.jobs.values() if job.code is None}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            job = by_pid.get(pid)
            if job is not None:
                job.code = os.waitstatus_to_exitcode(status)
                # A process that was asked to stop may leave a server that was not: ask it too, as `sh -c` would not.
                if job.stopping and not job.killed:
                    _signal(os.killpg, job.pid, signal.SIGTERM)
                else:
                    self.kill(job)

    def clear(self) -> None:
        """Tell of the processes that have ended with all that they started."""
        for job in [job for job in self.jobs.values() if job.code is not None]:
            if not _signal(os.killpg, job.pid, 0):
                self.kill_strays(f"{self.token}-{job.name}-")
                del self.jobs[job.name]
                self.tell({"id": job.name, "code": job.code})

    def kill(self, job: Job) -> None:
        _signal(os.killpg, job.pid, signal.SIGKILL)
        self.kill_strays(f"{self.token}-{job.name}-")

    def kill_strays(self, mark: str, *, everywhere: bool = False) -> None:
        """Kill what bears the mark and has left its group: those are children of ours, or of nobody any more."""
        groups = {job.pid for job in self.jobs.values()}
        sought = f"{MARK}={mark}".encode()
        found = True
        give_up = time.monotonic() + 2
        while found and self.linux and time.monotonic() < give_up:
            found = False
            for pid, (parent, group) in _processes().items():
                if (everywhere or parent == os.getpid()) and group not in groups and sought in _environment(pid):
                    found = _signal(os.kill, pid, signal.SIGKILL) or found
            if found:
                time.sleep(0.002)  # what they had started becomes ours
                self.reap()

    def end(self) -> None:
        """Kill everything, and be sure of it."""
        for job in self.jobs.values():
            _signal(os.killpg, job.pid, signal.SIGKILL)
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            for pid, (parent, _) in _processes().items() if self.linux else ():
                if parent == os.getpid():
                    _signal(os.kill, pid, signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(0.002)

    def rotate(self) -> None:
        """Copy and truncate: the process has the file open for appending, and goes on at its new end."""
        for log in {job.log for job in self.jobs.values()} - {os.devnull}:
            with contextlib.suppress(OSError):
                if os.stat(log).st_size > LOG_LIMIT:
                    shutil.copyfile(log, log + ".1")
                    os.truncate(log, 0)

    def tell(self, message: dict) -> None:  # type: ignore[type-arg]  # a JSON object
        try:
            self.control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            sys.exit(0)  # Headgate is gone


def _signal(how, which: int, number: int) -> bool:  # type: ignore[no-untyped-def]  # os.kill or os.killpg
    """Whether there was somebody to get it."""
    try:
        how(which, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return number != 0  # it became another user's: it is there, and can't be ours to wait for
    return True


def _words(error: OSError, program: str) -> str:
    what = error.filename or program
    if error.errno == 2 and what == program:
        return f"no program {program!r} on this machine"
    return f"{what}: {error.strerror}"


def _processes() -> dict[int, tuple[int, int]]:
    """pid → (parent, process group) of every process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    found[int(entry)] = int(fields[1]), int(fields[2])
    return found


def _environment(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


if __name__ == "__main__":
    Spawner(socket.socket(fileno=int(sys.argv[1])), sys.argv[2]).run()
