"""The Service Layer's `$batch` (requests in, one answer per part out), and JSON whose numbers stay exact. Pure.

Facts from SAP's user guide (1.29, read 2026-11-21): the boundary stands unquoted (quotes are answered 405),
`Content-ID` is mandatory in a change set, a GET needs two blank lines after its request line, parts run one after the
other and the batch stops at the first that fails, and a failed change set is rolled back and answered by one part,
however many requests it had.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any


@dataclass(frozen=True, slots=True)
class B1Request:
    """One request to the Service Layer.

    Attributes:
        path: Relative to the service root, without a leading slash: `Orders(12)/Cancel`. Values in it went through
            `quote_literal`; blanks may stand as they are.
        body: JSON to be: mappings, sequences, str, int, bool, None, Decimal, date. Never a float.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class B1Answer:
    """What one request came to.

    Attributes:
        body: The JSON object, numbers as int and Decimal; None where there is none or it is not JSON. A bare value (of
            `$count`) stands under `value`.
        headers: By lower-case name.
    """

    status: int
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def error(self) -> tuple[str | None, str]:
        """SAP's code and text; (None, "") where the body is not SAP's. Both the v1 and the v2 shape are read."""
        error = self.body.get("error") if self.body else None
        if not isinstance(error, Mapping):
            return None, ""
        message = error.get("message")
        if isinstance(message, Mapping):
            message = message.get("value")
        code = error.get("code")
        return None if code is None else str(code), "" if message is None else str(message)


class IncompleteError(Exception):
    """The answer is cut off, or is not what was asked for: nobody knows how it would have ended."""


_BATCH, _CHANGE_SET = "batch_b1streams", "changeset_b1streams"
CONTENT_TYPE = f"multipart/mixed;boundary={_BATCH}"

# A JSON body is one line that begins with a brace, so no delimiter line can stand in it: fixed boundaries are safe.


def encode_change_set(requests: Sequence[B1Request], root: str) -> bytes:
    """A batch of one change set. `root` is the path of the service, `/b1s/v2`."""
    parts = [
        f"--{_CHANGE_SET}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
        f"Content-ID: {number}\r\n\r\n{_http(request, root)}\r\n"
        for number, request in enumerate(requests, 1)
    ]
    return (
        f"--{_BATCH}\r\nContent-Type: multipart/mixed;boundary={_CHANGE_SET}\r\n\r\n"
        f"{''.join(parts)}--{_CHANGE_SET}--\r\n--{_BATCH}--\r\n"
    ).encode()


def encode_reads(paths: Sequence[str], root: str, page_rows: int | None = None) -> bytes:
    """A batch of GETs; `page_rows` is what a page may hold at most, B1's own setting where it is None."""
    headers = () if page_rows is None else (("Prefer", f"odata.maxpagesize={page_rows}"),)
    parts = [
        f"--{_BATCH}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
        f"Content-ID: {number}\r\n\r\n{_http(B1Request('GET', path, headers=headers), root)}\r\n"
        for number, path in enumerate(paths, 1)
    ]
    return f"{''.join(parts)}--{_BATCH}--\r\n".encode()


def _http(request: B1Request, root: str) -> str:
    line = f"{request.method} {root}/{request.path.replace(' ', '%20')} HTTP/1.1"
    headers = "".join(f"\r\n{name}: {value}" for name, value in request.headers)
    if any(character < " " for character in line) or "\n" in headers.replace("\r\n", ""):
        raise ValueError("a path or header of a request holds control characters: its values must be quoted")
    if request.body is None:
        return f"{line}{headers}\r\n\r\n\r\n"
    return f"{line}\r\nContent-Type: application/json{headers}\r\n\r\n{encode_json(request.body)}"


def parse_change_set(requests: int, content_type: str, body: bytes) -> list[B1Answer]:
    """The answers in the order of the requests; one answer, the failed one, where the change set was rolled back.

    Raises:
        IncompleteError: Cut off, or not an answer to as many requests.
    """
    parts = _multipart(content_type, body)
    if len(parts) != 1:
        raise IncompleteError(f"{len(parts)} parts answer one change set")
    headers, content = parts[0]
    kind = headers.get("content-type", "")
    inner = _multipart(kind, content) if kind.lower().startswith("multipart/") else [(headers, content)]
    answers = [_answer(*part) for part in inner]
    failed = next((answer for answer in answers if not answer.ok), None)
    if failed is not None:
        return [failed]
    if len(answers) != requests:
        raise IncompleteError(f"{len(answers)} answers to {requests} requests of a change set")
    return _in_order(answers)


def parse_reads(content_type: str, body: bytes) -> list[B1Answer]:
    """The answers so far as the batch ran, in the order of the paths: it stops at the first that fails.

    Raises:
        IncompleteError: Cut off.
    """
    return _in_order([_answer(*part) for part in _multipart(content_type, body)])


def _in_order(answers: list[B1Answer]) -> list[B1Answer]:
    """By Content-ID where the answers carry them, else as they came."""
    ids = [answer.headers.get("content-id") for answer in answers]
    if not any(ids):
        return answers
    by_id = dict(zip(ids, answers, strict=True))
    try:
        return [by_id[str(number)] for number in range(1, len(answers) + 1)]
    except KeyError:
        raise IncompleteError("the answers of a batch name other Content-IDs than its requests") from None


_BOUNDARY = re.compile(r"boundary=\"?([^\";,\s]+)\"?", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?\s+(\d{3})\b")
_LINE_ENDS = 4  # a server may count the line ends behind a body, which a delimiter takes away
_BLANK = re.compile(rb"\r?\n\r?\n")
_Part = tuple[dict[str, str], bytes]


def _multipart(content_type: str, body: bytes) -> list[_Part]:
    found = _BOUNDARY.search(content_type)
    if not found:
        raise IncompleteError("the answer to a batch is not multipart")
    delimiter = re.escape(b"--" + found[1].encode("latin-1", "replace"))
    pieces = re.split(rb"(?:\A|\r?\n)" + delimiter + rb"(--)?[ \t]*(?=\r?\n|\Z)", body)
    # preamble, then for each delimiter: whether it closes, and what follows it
    closes, contents = pieces[1::2], pieces[2::2]
    if b"--" not in closes:
        raise IncompleteError("the answer to a batch ends before its last delimiter")
    return [_headers(content.removeprefix(b"\r").removeprefix(b"\n")) for content in contents[: closes.index(b"--")]]


def _headers(content: bytes) -> _Part:
    if content.startswith((b"\r\n", b"\n")):
        return {}, content.removeprefix(b"\r").removeprefix(b"\n")
    head, *rest = _BLANK.split(content, maxsplit=1)
    lines = (line.partition(":") for line in head.decode("latin-1").splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in lines}, rest[0] if rest else b""


def _answer(outer: Mapping[str, str], content: bytes) -> B1Answer:
    content = content.lstrip(b"\r\n")
    status = _STATUS.match(content)
    if not status:
        raise IncompleteError("a part of a batch has no status line")
    headers, body = _headers(content.partition(b"\n")[2])
    length = headers.get("content-length", "")
    if length.isdigit() and len(body) + _LINE_ENDS < int(length):
        raise IncompleteError("a part of a batch is shorter than it says")
    if "content-id" in outer:
        headers.setdefault("content-id", outer["content-id"])
    try:
        return B1Answer(int(status[1]), decode_body(body), headers)
    except ValueError:
        if int(status[1]) >= 400:
            return B1Answer(int(status[1]), None, headers)
        raise IncompleteError("a part of a batch holds broken JSON") from None


def decode_body(body: bytes) -> Mapping[str, Any] | None:
    """A JSON body, numbers exact.

    Raises:
        ValueError: Not JSON, or not UTF-8.
    """
    if not body.strip():
        return None
    value = decode_json(body)
    return value if isinstance(value, dict) else {"value": value}


def decode_json(body: bytes) -> object:
    """JSON with Decimal for every number that has a point or an exponent.

    Raises:
        ValueError: Not JSON, not UTF-8, NaN or Infinity, or nested beyond reason.
    """
    try:
        value: object = json.loads(body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_no_constant)
    except (RecursionError, ArithmeticError):
        raise ValueError("JSON nested too deeply, or a number beyond all bounds") from None
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def encode_json(value: object) -> str:
    """JSON on one line, Decimals as plain numbers to their last digit.

    Raises:
        TypeError: A float, or anything else that has no exact JSON.
        ValueError: A Decimal that is not finite.
    """
    match value:
        case None | bool() | int() | str():
            return json.dumps(value)
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"{value} is no JSON number")
            return format(value, "f")
        case datetime():
            raise TypeError("B1 takes dates without a time")
        case date():
            return f'"{value.isoformat()}"'
        case Mapping():
            return "{" + ",".join(f"{json.dumps(str(name))}:{encode_json(item)}" for name, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(encode_json, value)) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} has no exact JSON: use Decimal for quantities and money")


def decimal_of(value: object) -> Decimal | None:
    """A number of an answer; B1 also writes numbers as text. None where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal) or value == "":
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
