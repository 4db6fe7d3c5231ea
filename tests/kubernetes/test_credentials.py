"""Tokens and certificates: programs that print them, files that change, and what is told where there are none."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from headgate.runtime.kubernetes.access import Access, Exec, Pem, User
from headgate.runtime.kubernetes.credentials import CredentialError, Purse

V1 = "client.authentication.k8s.io/v1"
COUNTING = """\
import json, pathlib, sys
count = pathlib.Path(sys.argv[1])
number = len(count.read_text()) if count.exists() else 0
count.write_text("x" * (number + 1))
print(json.dumps({"status": {"token": f"t{number}", "expirationTimestamp": "1970-01-01T00:10:00Z"}}))
"""


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def _plugin(text: str, *args: str, **more: Any) -> Access:
    program = Exec(api_version=V1, command=sys.executable, args=("-c", text, *args), **more)
    return Access("http://127.0.0.1:1", user=User(exec=program))


def test_a_program_is_run_again_when_what_it_printed_expires_or_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        now = 0.0
        purse = Purse(_plugin(COUNTING, str(tmp_path / "count")), clock=lambda: now)
        assert (await purse.current()).authorization == "Bearer t0"
        now = 500.0
        assert (await purse.current()).authorization == "Bearer t0"
        now = 545.0  # a minute before the ten are over
        assert (await purse.current()).authorization == "Bearer t1"
        purse.refused()
        assert (await purse.current()).authorization == "Bearer t2"

    run(test)


@pytest.mark.parametrize(
    ("access", "told"),
    [
        (_plugin("import sys; sys.exit('not logged in')"), "it failed with 1: not logged in"),
        (_plugin("print('hello')"), "it printed no ExecCredential"),
        (_plugin("print('{\"status\": {}}')"), "neither a token nor a certificate"),
        (_plugin("", interactive_mode="Always"), "it wants to ask a person"),
        (
            Access("http://x", user=User(exec=Exec(api_version=V1, command="/nowhere/x", install_hint="get it"))),
            "No such file or directory; get it",
        ),
        (Access("http://x", user=User(exec=Exec(api_version="v1alpha1", command="x"))), "exec.apiVersion v1alpha1"),
        (Access("https://x", authorities=Pem("/nowhere/ca.crt")), "/nowhere/ca.crt"),
        (Access("https://x", authorities=Pem(data=b"no PEM")), "credentials can't be used"),
    ],
)
def test_why_there_are_none_is_told(access: Access, told: str) -> None:
    async def test() -> None:
        with pytest.raises(CredentialError, match=told.replace(".", r"\.")):
            await Purse(access).current()

    run(test)


def test_a_token_file_is_read_again_when_it_is_another_and_kept_while_it_is_gone(tmp_path: Path) -> None:
    async def test() -> None:
        now = 0.0
        file = tmp_path / "token"
        file.write_text("one")
        purse = Purse(Access("http://x", user=User(token_file=str(file))), clock=lambda: now)
        assert (await purse.current()).authorization == "Bearer one"
        file.write_text("three")
        assert (await purse.current()).authorization == "Bearer one"
        now = 11.0
        assert (await purse.current()).authorization == "Bearer three"
        file.unlink()
        now = 22.0
        assert (await purse.current()).authorization == "Bearer three"

    run(test)
