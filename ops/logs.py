"""Where log lines go and how they look: coloured lines for a terminal, one JSON object a line for machines.

Logs go to stderr; stdout belongs to the command's result. Libraries that use `logging` come out the same way. As the last defence, after
nobody having logged one on purpose, values under the names of secrets are masked.
"""

import logging
import sys
import threading
from collections import Counter
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_SECRET_NAMES = frozenset(
    {"authorization", "cluster_key", "device_secret", "key", "password", "secret", "token", "vendor_tokens"}
)

_MOST_LOGGERS = 100


class ErrorLines:
    """How many error lines each logger wrote, from any thread: an alarm hangs on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: Counter[str] = Counter()

    def __call__(self, logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event.get("level") in ("error", "critical"):
            name = _name(logger, event) or "unnamed"
            with self._lock:
                self._lines[name if name in self._lines or len(self._lines) < _MOST_LOGGERS else "other"] += 1
        return event

    def take(self) -> dict[str, int]:
        """Since the last time, by the name of the logger: a module's."""
        with self._lock:
            taken, self._lines = self._lines, Counter()
        return dict(taken)


def _name(logger: Any, event: MutableMapping[str, Any]) -> str:
    record = event.get("_record")  # a line of `logging`
    return getattr(record if record is not None else logger, "name", None) or ""


def add_logger(logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Which module wrote the line."""
    if name := _name(logger, event):
        event["logger"] = name
    return event


error_lines = ErrorLines()
"""Of this process: `configure` puts it among the processors."""


class NamedLogger(structlog.WriteLogger):
    """Knows whose lines they are: `structlog.get_logger(__name__)`. A line is one write: processes that share a stderr don't tear each
    other's."""

    def __init__(self, file: TextIO, name: str = "") -> None:
        super().__init__(file)
        self.name = name


def configure(*, as_json: bool, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Set up structlog and `logging` for the whole process. Call once, before anything is started."""
    out = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        # For people the time on their wall; for machines the instant.
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
        mask_secrets,
        error_lines,
    ]
    # Neither kind of traceback shows local variables: they hold secrets and payloads.
    if as_json:
        shared.append(add_logger)
        exceptions = structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        )
        finish: list[structlog.typing.Processor] = [exceptions, structlog.processors.JSONRenderer()]
    else:
        finish = [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    structlog.configure(
        processors=[*shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: NamedLogger(out, *names),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))  # libraries tell what they do at INFO; that is not our news


def mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in event:
        if name.lower() in _SECRET_NAMES:
            event[name] = "***"
    return event
