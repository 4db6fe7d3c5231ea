"""However long the lines are that a server sends, reading them takes one pass: the event loop waits for it."""

from time import process_time

import pytest

from headgate.fleet.endpoint import Load
from headgate.fleet.read import read

NAME, MANY = b"vllm:num_requests_waiting", 300_000


@pytest.mark.parametrize(
    "line",
    [
        b'{a="}' + b"x" * MANY + b'"}\n',
        b'{a="1"} ' + b"1" * MANY,
        b" " + b"1 " * MANY,
        b" 1\n" + b" " * MANY + b"y",
        b" 1\n" + b"\r" * MANY + b"y",
        b"{" + b"}" * MANY,
        b"{" + b"} " * MANY,
    ],
    ids=["no value", "a cut number", "cut words", "blanks", "returns", "braces", "braces and blanks"],
)
def test_a_line_without_end_is_read_in_one_pass(line: bytes) -> None:
    before = process_time()
    read(NAME + line, "vllm", Load(), 0.0)
    assert process_time() - before < 2.0  # some milliseconds; minutes where each place is tried again
