"""
One line for each request that ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from attrs import frozen
from twisted.logger import Logger, LogLevel

from glance_tx.telemetry.redact import printable, redact_url

__all__ = ["AccessLog", "AccessRecord", "AccessSink"]

_PATH_LIMIT: Final = 512
_WORD_LIMIT: Final = 64


@frozen(kw_only=True)
class AccessRecord:
    """
    What there is to say about a request once it ended.

    Texts are as the client sent them; whoever shows a record makes them safe (`AccessLog.fields`).

    :param method: As sent.
    :param path: Path and query, as sent.
    :param status: Of the answer; ``0`` where none was begun.
    :param sent_bytes: Of the answer's body, as handed to the transport.
    :param received_bytes: Of the request's body.
    :param seconds: From the end of the request's head to the end of the answer.
    :param complete: Whether the whole answer was handed over; ``False`` after a disconnect or a reset.
    :param route: Name of the route that answered: one of few, so fit to label a metric.
    :param client: Address of the client.
    :param project_id: The caller's project, where the caller is known.
    :param cache_state: What the answer's ``X-Cache`` says.
    :param transfer: The kind of transfer of image data that this was, where it was one.
    :param first_byte_seconds: From the end of the request's head to the beginning of the answer.
    """

    method: str
    path: str
    status: int
    sent_bytes: int
    seconds: float
    request_id: str
    received_bytes: int = 0
    complete: bool = True
    route: str | None = None
    client: str | None = None
    project_id: str | None = None
    cache_state: str | None = None
    transfer: str | None = None
    first_byte_seconds: float | None = None


AccessSink = Callable[[AccessRecord], None]
"""Whatever takes note of finished requests."""


class AccessLog:
    """
    Writes finished requests to the log: a line of text, or an object with one key for each fact.

    :param log: Where to. The event carries the facts as ``access`` beside the text.
    """

    def __init__(self, log: Logger | None = None) -> None:
        self._log = log or Logger(namespace="access")

    def __call__(self, record: AccessRecord) -> None:
        """
        Note one finished request.
        """
        fields = self.fields(record)
        # The event that `Logger.info` would make. That also sorts all levels there are, which takes as long as
        # everything here.
        self._log.observer(
            {
                "log_logger": self._log,
                "log_level": LogLevel.info,
                "log_namespace": self._log.namespace,
                "log_source": self._log.source,
                "log_format": "{text}",
                "log_time": time.time(),
                "text": _as_text(fields),
                "access": fields,
            }
        )

    @staticmethod
    def fields(record: AccessRecord) -> dict[str, object]:
        """
        Make the facts of a record safe to print: bounded, without control characters, without secrets.
        """
        fields: dict[str, object] = {
            "method": printable(record.method, _WORD_LIMIT),
            "path": printable(redact_url(record.path), _PATH_LIMIT),
            "status": record.status,
            "sent_bytes": record.sent_bytes,
            "received_bytes": record.received_bytes,
            "seconds": round(record.seconds, 6),
            "request_id": printable(record.request_id, _WORD_LIMIT),
            "complete": record.complete,
        }
        for name in ("client", "project_id", "cache_state"):
            value: str | None = getattr(record, name)
            if value is not None:
                fields[name] = printable(value, _WORD_LIMIT)
        return fields


def _as_text(fields: dict[str, object]) -> str:
    """
    One line: the request as it was, then named facts; what is not known is ``-``.
    """
    return (
        f"{fields.get('client', '-')} {_word(fields['method'])} {_word(fields['path'])} {fields['status']}"
        f" sent={fields['sent_bytes']} received={fields['received_bytes']} seconds={fields['seconds']:.6f}"
        f" request_id={fields['request_id']} project={_word(fields.get('project_id', '-'))}"
        f" cache={_word(fields.get('cache_state', '-'))}"
        f"{'' if fields['complete'] else ' aborted'}"
    )


def _word(value: object) -> str:
    """
    Keep a client's blanks from looking like the border of a field.
    """
    return str(value).replace(" ", "\\x20") or "-"
