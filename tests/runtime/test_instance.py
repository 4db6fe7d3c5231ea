"""Where an instance keeps its files, who has it, and how to ask it."""

import asyncio
import os
from pathlib import Path

import pytest

from headgate.runtime.instance import NotRunning, Unusable, admin_socket, ask, claim, home, reachable
from headgate.runtime.server import Answer, Request, serve


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADGATE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_an_instance_has_a_directory_of_its_own_that_is_private(state: Path) -> None:
    directory, lock = claim("one")
    with lock:
        assert directory == state / "one"
        assert directory.stat().st_mode & 0o077 == 0


def test_a_name_is_had_by_one_at_a_time_and_the_other_is_told_by_whom(state: Path) -> None:
    _, lock = claim("one")
    with pytest.raises(Unusable, match=rf"'one' is already running \(process {os.getpid()}\)"):
        claim("one")
    claim("two")[1].close()
    lock.close()
    claim("one")[1].close()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", "a b", "x" * 64, "ü", "a\n"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(Unusable, match="use letters, digits"):
        home(name)


def test_a_relative_state_directory_means_where_we_are_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_STATE", "relative")
    monkeypatch.chdir(tmp_path)
    assert home("x") == tmp_path / "relative" / "x"


def test_without_a_state_directory_that_of_the_user_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADGATE_STATE", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert home("x") == tmp_path / "headgate" / "x"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    assert f"headgate-{os.getuid()}" in str(home("x"))


def test_a_directory_that_can_not_be_used_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADGATE_STATE", str(tmp_path / "file"))
    with pytest.raises(Unusable, match=r"can't be used \(Not a directory\): set HEADGATE_STATE"):
        claim("x")


@pytest.mark.parametrize("depth", [0, 12])
def test_the_instance_answers_also_where_its_socket_has_a_long_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    monkeypatch.setenv("HEADGATE_STATE", str(tmp_path.joinpath(*["a-long-directory"] * depth)))
    directory, lock = claim("x")
    asked: list[str] = []

    def answer(request: Request) -> Answer:
        asked.append(request.path)
        return Answer(200, (), b"yes")

    async def main() -> tuple[int, bytes]:
        with reachable(admin_socket(directory)) as path:
            assert len(path) < 104
            server = await serve(answer, path=path)
        found = await asyncio.to_thread(ask, "x", "/is/it/there")
        await server.close(0)
        return found

    with lock:
        assert asyncio.run(main()) == (200, b"yes")
        assert asked == ["/is/it/there"]


def test_nobody_there_is_said_with_what_to_type(state: Path) -> None:
    with pytest.raises(NotRunning, match=r"^no headgate is running here; start one with: headgate up PATH$"):
        ask("default", "/get/pods")
    with pytest.raises(NotRunning, match=r"called 'two' is running here; start one with: headgate up PATH --name two$"):
        ask("two", "/get/pods")
    admin_socket(home("default")).parent.mkdir(parents=True)
    admin_socket(home("default")).write_text("no socket")
    with pytest.raises(NotRunning, match="no headgate is running here"):
        ask("default", "/get/pods")
