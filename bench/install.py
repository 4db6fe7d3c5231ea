"""Peers, each in a home of its own: a virtual environment, or an npm prefix. What is pinned stands in requirements/."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.processes import ROOT, Failed

_PINS = ROOT / "requirements"
_LIMIT_S = 1200.0


def version(peer: str) -> str:
    """The pinned version of the package that `peer` is, as a reader knows it."""
    if (_PINS / f"bench-{peer}").is_dir():
        pins = json.loads((_PINS / f"bench-{peer}" / "package.json").read_text())["dependencies"]
        return str(next(iter(pins.values())))
    found = re.match(r"\S+?==(\S+)", (_PINS / f"bench-{peer}.in").read_text())
    assert found, peer
    return found[1]


def install(peer: str, homes: Path) -> Path:
    """The home of `peer` below `homes`, made when it is not there as pinned. Raises Failed with what the tool said."""
    home, pins = homes / peer, _PINS / f"bench-{peer}"
    locks = [pins / "package.json", pins / "package-lock.json"] if pins.is_dir() else [_PINS / f"bench-{peer}.txt"]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    complete = home / ".complete"
    if complete.is_file() and complete.read_text() == digest:
        return home
    print(f"bench: installing {peer} {version(peer)}", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    if pins.is_dir():
        home.mkdir()
        for lock in locks:
            shutil.copy(lock, home)
        _do("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(home))
    else:
        _do("sh", str(ROOT / "scripts" / "venv"), sys.executable, str(home))
        # The lock names all there is to install. Not every pip sees that `name[extra]` is the `name` pinned there.
        how = ("-q", "--disable-pip-version-check", "--require-hashes", "--no-deps")
        _do(str(home / "bin" / "pip"), "install", *how, "-r", str(locks[0]))
    complete.write_text(digest)
    return home


def _do(*argv: str) -> None:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_LIMIT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"not installed: {error}") from None
    if done.returncode:
        said = [
            line for line in (done.stderr + done.stdout).splitlines() if line.strip() and "WARN" not in line.upper()
        ]
        # For the results, which others read: where it asked, and from where, says nothing to them.
        told = re.sub(r"https?://\S+", "…", " ".join(said[-3:])).replace(str(ROOT), ".")
        raise Failed(f"not installed: {Path(argv[0]).name} said: {told}")
