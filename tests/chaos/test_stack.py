"""A service that is killed takes its descendants with it, also those that made themselves independent of its group."""

from __future__ import annotations

import subprocess
import sys

from scripts.services import family

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
print(child.pid, flush=True)
input()
"""


def test_the_family_of_a_process_holds_children_in_sessions_of_their_own() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert family(parent.pid) == [parent.pid, child]
        parent.communicate(b"\n")
