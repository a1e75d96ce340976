"""
Load: wrk, which takes a small part of what servers in Python take, sending requests from a list.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from processes import HOST, ServerProcess

__all__ = ["Call", "LoadFailed", "Measured", "measure", "require_wrk"]

# Requests are made once; each connection's next one is the list's next one. The list begins somewhere else each time.
_SCRIPT = """\
local made = {}
local next_one = 0
function init(args)
  for line in io.lines(%(calls)s) do
    local method, path, range, body = line:match("^(%%S+) (%%S+) (%%S+) ?(.*)$")
    local headers = {}
    if range ~= "-" then headers["Range"] = range end
    if body ~= "" then headers["Content-Type"] = "application/json" else body = nil end
    made[#made + 1] = wrk.format(method, path, headers, body)
  end
  math.randomseed(os.time())
  next_one = math.random(#made)
end
function request()
  next_one = next_one %% #made + 1
  return made[next_one]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests": %%d, "micros": %%d, "p50": %%d, "p99": %%d, "refused": %%d, "broken": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


class LoadFailed(Exception):
    """
    Requests were not answered.
    """


@frozen
class Call:
    """
    One request.

    :param body: JSON in one line, or nothing.
    :param byte_range: A Range header, without blanks, or nothing.
    """

    method: str
    path: str
    body: str = ""
    byte_range: str = ""


@frozen
class Measured:
    """
    What came out of one round.

    :param cpu_ms: Of all processes of the server, for each request that was answered, whatever the answer.
    :param refused_percent: Of the requests: those that were answered by no success.
    """

    requests_per_second: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    refused_percent: float


def require_wrk() -> None:
    """
    See that there is a wrk.

    :raises LoadFailed: There is none.
    """
    if shutil.which("wrk") is None:
        raise LoadFailed("wrk is wanted (Debian: apt install wrk)")


def measure(target: ServerProcess, calls: Sequence[Call], connections: int, seconds: float, folder: Path) -> Measured:
    """
    Send requests for some time, over so many connections, each of which waits for an answer before it sends the next
    request, and is kept open where the server keeps it.

    :raises LoadFailed: Requests were not answered.
    """
    listed = folder / "calls"
    lines = (f"{call.method} {call.path} {call.byte_range or '-'} {call.body}\n" for call in calls)
    listed.write_text("".join(lines))
    script = folder / "calls.lua"
    script.write_text(_SCRIPT % {"calls": json.dumps(str(listed))})
    how = ["-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(script)]
    command = ["wrk", *how, f"http://{HOST}:{target.port}/"]
    before = target.cpu_seconds()
    run = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    cpu_seconds = target.cpu_seconds() - before
    if run.returncode:
        raise LoadFailed(f"wrk: {run.stderr.strip()}")
    found = json.loads(run.stdout.splitlines()[-1])
    if found["broken"] or not found["requests"]:
        raise LoadFailed(f"{target.name} failed at {calls[0].method} {calls[0].path}: {found}")
    return Measured(
        requests_per_second=found["requests"] / found["micros"] * 1e6,
        cpu_ms=cpu_seconds * 1000 / found["requests"],
        p50_ms=found["p50"] / 1000,
        p99_ms=found["p99"] / 1000,
        refused_percent=found["refused"] / found["requests"] * 100,
    )
