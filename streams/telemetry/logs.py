"""What we write down about ourselves: JSON lines of allow-listed keys, capped and escaped, never a payload.

A log line may carry names, ids, codes, offsets and our own words. Whatever an event says about a person stays out: keys
that are not on the list are dropped (and named), and of a foreign exception only its type and place are kept, because
B1's texts and validators quote the values they refuse.
"""

import json
import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from connectors.base.errors import ConnectorError, LogError
from schemas.codec import CodecError
from streams.telemetry.repeats import RepeatLimit
from streams.telemetry.text import escape

_FRAMES = 8  # innermost frames of an exception
_CAUSES = 4
#: Keys that a line may carry. Add one only if its values can never be personal data, a secret or a payload.
ALLOWED = frozenset(
    {
        *("event", "level", "logger", "timestamp", "exception", "dropped", "topic", "partition", "partitions"),
        *("offset", "offsets", "start", "end", "position", "group", "generation", "lag", "company", "connector"),
        *("source", "kind", "k", "ks", "event_type", "event_id", "order_id", "sku", "item", "items", "warehouse"),
        *("location", "letter", "letter_id", "reason", "owner", "state", "outcome", "waits_for", "blocked_by"),
        *("object", "doc_entry", "doc_num", "operation", "code", "sap_code", "status", "attempt", "attempts"),
        *("tries", "error", "error_type", "remedy", "why", "cause", "stage", "part", "check", "name", "path", "file"),
        *("line", "url", "count", "counts", "failures", "moved_to", "members", "lines", "batches", "number", "size"),
        *("bytes", "length_bytes", "rate", "idle", "after_s", "wait_s", "age_s", "seconds", "duration_s", "length_s"),
        *("timeout_s", "since", "until", "at", "config_version", "version", "host", "port", "pid", "signal"),
        *("command", "tier", "sessions", "limit", "by", "system"),
    }
)
#: Libraries that log too much at INFO: httpx writes whole URLs, which hold e-mail addresses in filters.
_QUIET = ("aiokafka", "asyncio", "faust", "httpcore", "httpx", "kafka", "mode", "uvicorn", "asyncssh")

Line = MutableMapping[str, Any]


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log of this process, ours and the libraries', as JSON lines to one stream (default: stderr)."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _first_line],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _describe_exception,
                _keep_allowed,
                _render,
            ],
        )
    )
    handler.addFilter(RepeatLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _first_line(_logger: Any, _method: str, line: Line) -> Line:
    """Of a library's message the first line: below it stand tracebacks and reprs of whatever it was working on."""
    line["event"] = str(line.get("event", "")).partition("\n")[0]
    return line


def _describe_exception(_logger: Any, _method: str, line: Line) -> Line:
    given = line.pop("exc_info", None)
    if not given:
        return line
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else sys.exc_info()[1]
    if error is not None:
        line["exception"] = described(error)
    return line


def described(error: BaseException) -> list[dict[str, Any]]:
    """An exception and its causes: type and place of each; the words only of our own, which hold no values."""
    chain: list[dict[str, Any]] = []
    at: BaseException | None = error
    while at is not None and len(chain) < _CAUSES:
        entry: dict[str, Any] = {"type": type(at).__name__}
        if isinstance(at, ConnectorError | CodecError | LogError):
            entry["message"] = str(at)
        frames = traceback.extract_tb(at.__traceback__)[-_FRAMES:]
        entry["at"] = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
        chain.append(entry)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return chain


def _keep_allowed(_logger: Any, _method: str, line: Line) -> Line:
    kept = {key: _safe(value) for key, value in line.items() if key in ALLOWED}
    dropped = sorted(key for key in line if key not in ALLOWED and not key.startswith("_"))
    if dropped:
        kept["dropped"] = [escape(key) for key in dropped]
    return kept


def _safe(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {escape(str(key)): _safe(item) for key, item in list(value.items())[:50]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(item) for item in list(value)[:50]]
    if isinstance(value, BaseException):
        return described(value)[0]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    return escape(str(value))


def _render(_logger: Any, _method: str, line: Line) -> str:
    return json.dumps(line)
