"""A README's commands, and what it says that they answer: the blocks that follow each other."""

import re
from pathlib import Path
from typing import NamedTuple

EXAMPLES = Path(__file__).parents[2] / "examples"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A ```bash block, and the ```json or ```text block after it: `…` in it stands for anything. "" for none."""

    script: str
    answer: str


def commands(example):
    """The commands of an example's README, in order; the first one brings it up."""
    blocks = _BLOCK.findall((EXAMPLES / example / "README.md").read_text())
    found = []
    for language, text in blocks:
        if language == "bash":
            found.append(Command(text, ""))
        elif language in ("json", "text") and found and not found[-1].answer:
            found[-1] = found[-1]._replace(answer=text)
    return found


def agrees(output, answer):
    """Whether the output holds all that the answer shows, in its order."""
    pattern = ".*".join(re.escape(part.strip()) for part in answer.split("…"))
    return re.search(pattern, output.replace("\r\n", "\n"), re.DOTALL) is not None
