"""
The log: where it goes, how a line looks, and what never shows in it.

Lines are written where the event happens, by a plain ``write`` and ``flush`` to a file opened for appending, as
Twisted's own observer does. A log on a disk that hangs therefore holds the daemon; keep it on a local one, or leave
``log_file`` unset and let the service manager take standard error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TextIO

import orjson
import txaio
from attrs import define, field
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    PredicateResult,
    formatEvent,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from glance_tx.telemetry.redact import redact_text

__all__ = ["LogFile", "LogFormat", "format_json", "format_text", "log_observer", "open_log", "start_logging"]

LogFormat = Literal["text", "json"]


class _Writable(Protocol):
    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


def _message(event: LogEvent) -> str:
    """
    Make the event's text. A line that was forged with a line feed shows as a continuation.
    """
    if "access" in event:
        return str(event["text"])  # made safe by AccessLog, and too frequent to be made so twice
    text = formatEvent(event)
    if not text.isprintable():
        text = "".join(
            c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text
        )
    return redact_text(text)


def _traceback(event: LogEvent) -> str | None:
    failure = event.get("log_failure")
    # Without values of local variables: those may be secrets.
    return redact_text(failure.getTraceback()) if isinstance(failure, Failure) else None


@lru_cache(maxsize=2)  # lines come many in a second
def _second(stamp: int) -> str:
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _time(event: LogEvent) -> str:
    stamp = event.get("log_time")
    milliseconds = int((time.time() if stamp is None else stamp) * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def format_text(event: LogEvent) -> str:
    """
    Make one line of an event; further lines of its text, and a traceback, are indented by a tab. The number of the
    worker that writes follows the logger's name, after a slash.
    """
    text = _message(event)
    traceback = _traceback(event)
    if traceback is not None:
        text = f"{text}\n{traceback}".strip()
    text = text.rstrip("\n").replace("\n", "\n\t")
    worker = f"/{event['worker']}" if "worker" in event else ""
    return f"{_time(event)} {_level(event)} [{event.get('log_namespace', '-')}{worker}] {text}\n"


def format_json(event: LogEvent) -> str:
    """
    Make one line of an event, a JSON object: ``time``, ``level``, ``logger``, ``worker`` where there are several, and
    ``message`` (with ``traceback`` after a failure), or the facts of a finished request.
    """
    document: dict[str, object] = {
        "time": _time(event),
        "level": _level(event),
        "logger": event.get("log_namespace", "-"),
    }
    if "worker" in event:
        document["worker"] = event["worker"]
    access = event.get("access")
    if access is not None:
        document.update(access)
    else:
        document["message"] = _message(event)
        traceback = _traceback(event)
        if traceback is not None:
            document["traceback"] = traceback
    return _dumps(document)


def _dumps(document: dict[str, object]) -> str:
    try:
        return orjson.dumps(document).decode() + "\n"
    except TypeError:
        # A lone surrogate is text to Python and nothing to UTF-8.
        clean = {
            name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
            for name, value in document.items()
        }
        return orjson.dumps(clean, default=repr).decode() + "\n"


_FORMATS: Final[dict[LogFormat, Callable[[LogEvent], str]]] = {"text": format_text, "json": format_json}


@define
class LogFile:
    """
    A log on disk. `reopen` follows a rotation that renamed it.
    """

    path: Path
    _file: FileIO = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._file = self._open()

    def _open(self) -> FileIO:
        return self.path.open("ab", buffering=0)

    def write(self, text: str, /) -> object:
        """
        Append text, in one piece: other processes may be writing to the file.
        """
        return self._file.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """
        Do nothing: what was written is with the operating system.
        """

    def reopen(self) -> None:
        """
        Go on at the file that now has the name.

        :raises OSError: It cannot be opened; the log goes on in the old file.
        """
        successor = self._open()
        self._file.close()
        self._file = successor

    def close(self) -> None:
        """
        Let go of the file.
        """
        self._file.close()


def open_log(log_file: Path | None) -> LogFile | TextIO:
    """
    Open what the log is written to.

    :param log_file: ``None`` for standard error: the stream itself, not what Twisted later puts in its place.
    :raises OSError: It cannot be opened for appending.
    """
    if log_file is not None:
        return LogFile(log_file)
    # Absent in a process that was started without one.
    return sys.__stderr__ or sys.stderr


def log_observer(out: _Writable, log_format: LogFormat, *, debug: bool, worker: int | None = None) -> ILogObserver:
    """
    Make the observer that a daemon's application carries: ``application.setComponent(ILogObserver, ...)`` has
    ``twistd`` log through it.

    :param debug: Write events below ``info`` too.
    :param worker: Said in every line, where several processes write to one log: which of them this is.
    """

    def line(event: LogEvent) -> str:
        return form({**event, "worker": worker})

    form = _FORMATS[log_format]
    # It wants IO, and uses two methods.
    lines = FileLogObserver(out, form if worker is None else line)  # type: ignore[arg-type]
    return FilteringLogObserver(lines, [_NotBelow(debug=debug)])


@implementer(ILogFilterPredicate)
class _NotBelow:
    """
    Lets events of a level and above pass.

    Twisted's own predicate sorts all levels for each event, as each comparison of two levels does.
    """

    def __init__(self, *, debug: bool) -> None:
        lowest = LogLevel.debug if debug else LogLevel.info
        self._shown = frozenset(level for level in LogLevel.iterconstants() if level >= lowest)

    def __call__(self, event: LogEvent) -> Any:
        """
        Give a `PredicateResult`.
        """
        wanted = event.get("log_level") in self._shown and event.get("log_namespace")
        return PredicateResult.maybe if wanted else PredicateResult.no


def start_logging(out: _Writable, log_format: LogFormat, *, debug: bool) -> None:
    """
    Send everything that is logged in this process to a file, and set the level of txaio's loggers alike.

    For programs that ``twistd`` does not start. It calls `globalLogBeginner` itself; a second call would log all
    things twice.
    """
    set_log_level(debug=debug)
    globalLogBeginner.beginLoggingTo([log_observer(out, log_format, debug=debug)])


def set_log_level(*, debug: bool) -> None:
    """
    Set the level of loggers made by txaio, which are silent below it. The level is global there.
    """
    txaio.use_twisted()  # type: ignore[no-untyped-call]
    txaio.set_global_log_level("debug" if debug else "info")  # type: ignore[attr-defined]
