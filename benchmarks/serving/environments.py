"""The peers' virtual environments: each from its own pinned list, none of them a dependency of the project."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

PEERS = ("mlflow", "bentoml", "litserve")
_LISTS = Path(__file__).resolve().parent.parent


def install(peer: str, folder: Path) -> Path:
    """Return the ``bin`` folder of a peer's environment below ``folder``, made first if it is not what is pinned.

    Raises:
        subprocess.CalledProcessError: it could not be installed.
    """
    environment, pinned = (folder / peer).resolve(), _LISTS / f"requirements-{peer}.txt"
    stamp = environment / ".installed"
    wanted = f"{sys.version}\n{hashlib.sha256(pinned.read_bytes()).hexdigest()}"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {peer} into {environment}", flush=True)
        uv = [sys.executable, "-m", "uv", "--quiet"]
        subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, str(environment)], check=True)
        python = str(environment / "bin" / "python")
        subprocess.run([*uv, "pip", "install", "--python", python, "--require-hashes", "-r", str(pinned)], check=True)
        stamp.write_text(wanted)
    return environment / "bin"


def version(peer: str) -> str:
    """Return the pinned version of a peer."""
    pinned = (_LISTS / f"requirements-{peer}.txt").read_text()
    found = re.search(rf"^{peer}==(\S+)", pinned, re.MULTILINE)
    if found is None:
        raise ValueError(f"requirements-{peer}.txt does not pin {peer}")
    return found[1]
