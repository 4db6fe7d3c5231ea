"""An exception that nobody expected is a mistake of ours: a line for people, the rest in a file."""

import asyncio
import contextlib
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import time
from typing import Any

_RETRY_S = 1.0


class Mistakes:
    """The exception handler of an event loop."""

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self._path = directory / "mistakes.log"
        self._say = say
        self._said = False

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.note(str(context.get("message")), context.get("exception"))

    def note(self, message: str, error: BaseException | None) -> None:
        what = f"{type(error).__name__}: {error}" if error is not None else message
        with contextlib.suppress(OSError), self._path.open("a") as file:
            file.write(f"{time():.3f} {message}\n")
            file.writelines(traceback.format_exception(error) if error is not None else [])
        if not self._said:
            self._said = True
            self._say(f"Headgate has made a mistake ({what}) and goes on. Please report it, with {self._path}")

    async def for_ever(self, work: Callable[[], Awaitable[None]]) -> None:
        """What runs goes on, whatever is wrong with us."""
        while True:
            try:
                await work()
            except Exception as error:
                self.note("while changes were followed", error)
                await asyncio.sleep(_RETRY_S)
