"""The program ``wrk``: 16 connections, each asks again as soon as it has its answer."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.model import USERS
from benchmarks.serving.running import Running

CONNECTIONS = 16
_SPARE_SECONDS = 30  # for what wrk does beside measuring
_SCRIPT = """
local requests, at = {{}}, 0
function init(args)
  math.randomseed(20170101)
  for n = 1, 4096 do
    local user = "u" .. math.random(0, {users} - 1)
    local path = string.gsub({path}, "USER", user)
    local body = {body} and string.gsub({body}, "USER", user)
    requests[n] = wrk.format({method}, path, {{["Content-Type"] = "application/json"}}, body)
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\n{{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "failed": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Measured:
    """Of one run of wrk: answers per second, latencies in milliseconds."""

    per_second: float
    p50: float
    p99: float


def check() -> None:
    """Raise ``FileNotFoundError`` if wrk is not installed."""
    if shutil.which("wrk") is None:
        raise FileNotFoundError("wrk is not installed: it is the package `wrk` of Debian, Ubuntu and Homebrew")


def measure(system: Running, seconds: float, scripts: Path) -> Measured:
    """Load a system for ``seconds``, a whole number; requests go to many users.

    Raises:
        RuntimeError: a request failed; a rate of failures would mean nothing.
    """
    script = scripts / f"{system.port}.lua"
    of = system.system
    script.write_text(
        _SCRIPT.format(
            users=USERS,
            path=_lua(of.path),
            body=_lua(of.body) if of.body else "nil",
            method=_lua("POST" if of.body else "GET"),
        )
    )
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{round(seconds)}s", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{system.port}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + _SPARE_SECONDS,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise RuntimeError(f"{of.name}: {found['failed']} of {found['requests']} requests failed\n{done.stdout}")
    return Measured(found["requests"] / found["microseconds"] * 1e6, found["p50"] / 1e3, found["p99"] / 1e3)


def _lua(text: str) -> str:
    return json.dumps(text)  # a string of ASCII is written alike
