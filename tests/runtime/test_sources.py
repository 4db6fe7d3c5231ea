"""Files as they come: written by editors, mounted, removed, unreadable, piped."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.runtime.sources import Sources


def _said(paths: list[Path | str], **options: bool) -> tuple[dict[str, str], list[str]]:
    texts, problems = Sources([str(path) for path in paths], **options).read()
    return {Path(text.file).name: text.text for text in texts}, [str(problem) for problem in problems]


def test_manifests_of_a_directory_are_read_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json", "d.txt", ".hidden.yaml", "._b.yaml", "e.yaml~", ".b.yaml.swp"):
        (tmp_path / name).write_text(name)
    (tmp_path / "f.yaml").mkdir()
    (tmp_path / ".#b.yaml").symlink_to("somebody@host.1234")
    assert _said([tmp_path]) == ({"a.yml": "a.yml", "b.yaml": "b.yaml", "c.json": "c.json"}, [])


def test_what_is_below_is_read_with_recursive_only_and_that_is_said(tmp_path: Path) -> None:
    below = tmp_path / "one" / "two"
    below.mkdir(parents=True)
    (below / "a.yaml").write_text("a")
    (tmp_path / "one" / "loop").symlink_to(tmp_path)
    assert _said([tmp_path])[1] == [
        f"{tmp_path}: holds no .yaml, .yml or .json file (those below it are read with --recursive)"
    ]
    assert _said([tmp_path], recursive=True) == ({"a.yaml": "a"}, [])


def test_a_mounted_config_map_is_read_once(tmp_path: Path) -> None:
    data = tmp_path / "..2024_01_01"
    data.mkdir()
    (data / "a.yaml").write_text("a")
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    for recursive in (False, True):
        assert _said([tmp_path], recursive=recursive) == ({"a.yaml": "a"}, [])


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a")
    texts, problems = Sources([str(file), str(tmp_path), f"{tmp_path}/./a.yaml"]).read()
    assert len(texts) == 1
    assert not problems


def test_what_can_not_be_read_is_said_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "utf16.yaml").write_bytes("kind: Pod".encode("utf-16"))
    (tmp_path / "dangling.yaml").symlink_to("nowhere")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfkind: Pod")
    with (tmp_path / "huge.yaml").open("wb") as huge:
        huge.truncate((16 << 20) + 1)
    texts, problems = _said([tmp_path, tmp_path / "absent", "nul\0byte"])
    assert texts == {"bom.yaml": "kind: Pod"}
    assert sorted(problem.rpartition("/")[2] for problem in problems) == [
        "absent: no such file or directory",
        "dangling.yaml: no such file or directory",
        "huge.yaml: can't be read: larger than 16 MiB; is it a manifest?",
        "nul\0byte: can't be read: embedded null byte",
        "utf16.yaml: can't be read: byte 0 is not UTF-8; save the file as UTF-8",
    ]


def test_what_can_not_be_read_any_more_counts_as_it_was(tmp_path: Path) -> None:
    named, directory = tmp_path / "named.yaml", tmp_path / "directory"
    directory.mkdir()
    inside, gone = directory / "inside.yaml", directory / "gone.yaml"
    for file in (named, inside, gone):
        file.write_text(file.name)
    sources = Sources([str(named), str(directory)])
    assert len(sources.read()[0]) == 3
    gone.unlink()  # out of a directory: that is how one deletes objects
    named.unlink()  # itself named: `headgate up named.yaml` would be refused now
    inside.write_bytes(b"\xff\xfe")
    texts, problems = sources.read()
    assert {text.text for text in texts} == {"named.yaml", "inside.yaml"}
    assert len(problems) == 2
    assert all("what it said before stays in force" in problem.message for problem in problems)
    directory.rename(tmp_path / "moved")
    assert {text.text for text in sources.read()[0]} == {"named.yaml", "inside.yaml"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything: run the tests as another user")
def test_an_unreadable_file_or_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a")
    (tmp_path / "a.yaml").chmod(0)
    (tmp_path / "below").mkdir(mode=0)
    problems = _said([tmp_path], recursive=True)[1]
    assert [problem.rpartition("/")[2] for problem in problems] == [
        "a.yaml: can't be read: Permission denied",
        "below: can't be read: Permission denied",
    ]


def test_standard_input_and_pipes_are_read_once_and_remembered() -> None:
    script = (
        "import sys; from headgate.runtime.sources import Sources; s = Sources(sys.argv[1:]);"
        "print([t.text for t in s.read()[0]]); print([t.text for t in s.read()[0]], s.fingerprint())"
    )
    read, write = os.pipe()
    os.write(write, b"piped")
    os.close(write)
    done = subprocess.run(
        [sys.executable, "-c", script, "-", f"/dev/fd/{read}", "-"],
        input="typed",
        capture_output=True,
        text=True,
        pass_fds=[read],
        timeout=20,
    )
    os.close(read)
    assert done.stdout.splitlines() == ["['typed', 'piped']", "['typed', 'piped'] ()"], done.stderr


def test_standard_input_that_is_closed_is_said() -> None:
    script = "from headgate.runtime.sources import Sources; print(*Sources(['-']).read()[1])"
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "{sys.executable}" -c "{script}" <&-'], capture_output=True, text=True, timeout=20
    )
    assert done.stdout == "<stdin>: can't be read: it is closed\n", done.stderr


# Following.


class _Following:
    """`changes` counts; each of them reads, as `headgate up` does."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.read: list[dict[str, str]] = []

    def changed(self) -> None:
        self.read.append({Path(text.file).name: text.text for text in self.sources.read()[0]})

    async def until(self, condition: Callable[[], bool], patience: float = 5.0) -> float:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < patience, self.read
            await asyncio.sleep(0.01)
        return time.monotonic() - began


def _follow(sources: Sources, story: Callable[[_Following], object]) -> _Following:
    following = _Following(sources)

    async def main() -> None:
        seen = sources.fingerprint()
        sources.read()
        task = asyncio.create_task(sources.follow(seen, following.changed))
        await story(following)  # type: ignore[misc]
        task.cancel()

    asyncio.run(main())
    return following


def test_edits_of_every_sort_are_seen_within_a_second(tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    data = [tmp_path / "one", tmp_path / "two"]
    for index, version in enumerate(data):
        version.mkdir()
        (version / "swapped.yaml").write_text(f"swapped {index}")
    directory.mkdir()
    (tmp_path / "data").symlink_to(data[0])
    (directory / "swapped.yaml").symlink_to(tmp_path / "data" / "swapped.yaml")
    (directory / "edited.yaml").write_text("0")

    def replace() -> None:
        (directory / ".part").write_text("1")
        (directory / ".part").rename(directory / "edited.yaml")

    def swap() -> None:
        (tmp_path / "next").symlink_to(data[1])
        (tmp_path / "next").rename(tmp_path / "data")

    edits: list[tuple[Callable[[], object], Callable[[dict[str, str]], bool]]] = [
        (replace, lambda now: now["edited.yaml"] == "1"),
        (lambda: (directory / "edited.yaml").write_text("2"), lambda now: now["edited.yaml"] == "2"),
        (swap, lambda now: now["swapped.yaml"] == "swapped 1"),
        (lambda: (directory / "new.yaml").write_text("n"), lambda now: "new.yaml" in now),
        (lambda: (directory / "new.yaml").unlink(), lambda now: "new.yaml" not in now),
        (lambda: (tmp_path / "later").mkdir(), lambda now: True),
        (lambda: (tmp_path / "later" / "l.yaml").write_text("l"), lambda now: "l.yaml" in now),
    ]

    async def story(following: _Following) -> None:
        for edit, seen in edits:
            edit()
            await following.until(lambda seen=seen: not following.read or seen(following.read[-1]), 5)  # type: ignore[misc]
            assert await following.until(lambda seen=seen: bool(following.read) and seen(following.read[-1])) < 1.5  # type: ignore[misc]

    _follow(Sources([str(directory), str(tmp_path / "later")]), story)


def test_a_file_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("whole")

    async def story(following: _Following) -> None:
        with file.open("w") as slow:
            for _ in range(8):
                slow.write("part ")
                slow.flush()
                await asyncio.sleep(0.1)
        await following.until(lambda: bool(following.read))

    assert _follow(Sources([str(tmp_path)]), story).read == [{"a.yaml": "part " * 8}]


def test_a_file_that_never_keeps_still_does_not_hold_up_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("old")

    async def story(following: _Following) -> None:
        async def scribble() -> None:
            while True:
                (tmp_path / "log.json").write_text(str(time.monotonic()))
                await asyncio.sleep(0.03)

        scribbling = asyncio.create_task(scribble())
        await asyncio.sleep(0.3)
        (tmp_path / "a.yaml").write_text("new")
        took = await following.until(lambda: bool(following.read) and following.read[-1]["a.yaml"] == "new")
        scribbling.cancel()
        assert took < 2

    _follow(Sources([str(tmp_path)]), story)


def test_a_change_between_the_first_look_and_the_first_poll_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("old")
    sources = Sources([str(tmp_path)])
    following = _Following(sources)

    async def main() -> None:
        seen = sources.fingerprint()
        (tmp_path / "a.yaml").write_text("edited while the first reading was going on")
        task = asyncio.create_task(sources.follow(seen, following.changed))
        await following.until(lambda: bool(following.read))
        task.cancel()

    asyncio.run(main())


def test_looking_at_two_thousand_files_takes_a_twentieth_of_a_second_at_most(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number}.yaml").write_text("")
    sources = Sources([str(tmp_path)])
    took = min(_timed(sources.fingerprint) for _ in range(3))
    assert took < 0.05


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def test_paths_may_stand_in_one_word_with_commas_between_as_kubectl_takes_them(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml", "c,d.yaml"):
        (tmp_path / name).write_text(f"# {name}")
    texts, problems = Sources([f"{tmp_path}/a.yaml,{tmp_path}/b.yaml", f"{tmp_path}/c,d.yaml"]).read()
    assert [Path(text.file).name for text in texts] == ["a.yaml", "b.yaml", "c,d.yaml"]
    assert problems == ()


def test_of_paths_with_commas_between_the_one_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# a")
    texts, problems = Sources([f"{tmp_path}/a.yaml,{tmp_path}/no.yaml"]).read()
    assert [Path(text.file).name for text in texts] == ["a.yaml"]
    assert [str(problem) for problem in problems] == [f"{tmp_path}/no.yaml: no such file or directory"]


def test_a_url_is_to_be_downloaded_first() -> None:
    url = "https://example.com/manifests.yaml"
    _, problems = Sources([url]).read()
    assert [str(problem) for problem in problems] == [f"{url}: can't be read: it is a URL; download it first"]
