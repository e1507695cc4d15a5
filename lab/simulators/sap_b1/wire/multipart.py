"""`$batch`: requests and answers as multipart text. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from lab.simulators.sap_b1.state.messages import LedgerAnswer, RefusedError, Request
from lab.simulators.sap_b1.wire.replies import B1Reply, HttpCall, answer_reply, headers_and_body, html_reply, read_json

_BOUNDARY: Final = re.compile(r"boundary=([^;\s]+)")
_PHRASES: Final = {
    200: "OK",
    201: "Created",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    412: "Precondition Failed",
    500: "Internal Server Error",
}


@dataclass(frozen=True, slots=True)
class ChangeSet:
    requests: tuple[Request, ...]


Part: TypeAlias = Request | ChangeSet


def requests_of(part: Part) -> tuple[Request, ...]:
    return part.requests if isinstance(part, ChangeSet) else (part,)


def _read_batch(body: bytes, boundary: str, *, strict: bool) -> list[Part]:
    """The parts of a `$batch`.

    Args:
        body: multipart text.
        boundary: unquoted.
        strict: whether each request of a change set needs a Content-ID (v2).

    Raises:
        RefusedError: -1000 for anything that is not well-formed.
    """
    parts: list[Part] = []
    for piece in _split_multipart(body, boundary):
        _, headers, rest = _head(piece)
        kind = headers.get("content-type", "")
        if kind.startswith("multipart/mixed"):
            inner = _BOUNDARY.search(kind)
            if inner is None or '"' in kind:
                raise _incomplete()
            requests = []
            for member in _split_multipart(rest, inner[1]):
                _, member_headers, member_rest = _head(member)
                if not member_headers.get("content-type", "").startswith("application/http"):
                    # A change set in a change set, or no request at all.
                    raise _incomplete()
                request = _read_request(member_headers, member_rest)
                if strict and request.content_id is None:
                    raise RefusedError(-1000, "Content-ID is mandatory for each request of a change set")
                requests.append(request)
            parts.append(ChangeSet(tuple(requests)))
        elif kind.startswith("application/http") and headers.get("content-transfer-encoding") == "binary":
            parts.append(_read_request(headers, rest))
        else:
            raise _incomplete()
    return parts


def _read_request(outer: Mapping[str, str], text: bytes) -> Request:
    lines, headers, body = _head(text)
    match lines[0].split(" "):
        case [method, path] | [method, path, "HTTP/1.1" | "HTTP/1.0"]:
            pass
        case _:
            raise _incomplete()
    content_id = outer.get("content-id") or headers.get("content-id")
    stripped = body.strip()
    return Request(method, below_root(path), read_json(stripped) if stripped else None, content_id, headers)


def _split_multipart(body: bytes, boundary: str) -> list[bytes]:
    mark = b"--" + boundary.encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--") or any(not p.startswith(b"\r\n") for p in pieces[1:-1]):
        raise _incomplete()
    return [piece[2:] for piece in pieces[1:-1]]


def _head(part: bytes) -> tuple[list[str], dict[str, str], bytes]:
    """First line and header lines up to the empty line, and what follows it."""
    head, gap, rest = part.partition(b"\r\n\r\n")
    if not gap:
        raise _incomplete()
    lines = head.decode("utf-8", "replace").split("\r\n")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and " " not in name:
            headers[name.strip().lower()] = value.strip()
    return lines, headers, rest


def _incomplete() -> RefusedError:
    return RefusedError(-1000, "Incomplete Batch Request Body!")


def below_root(path: str) -> str:
    for root in ("b1s/v1/", "b1s/v2/"):
        path = path.lstrip("/").removeprefix(root)
    return path


def http_part(answer: LedgerAnswer, content_id: str | None, version: str, call: HttpCall) -> bytes:
    headers, body = headers_and_body(answer, version, call)
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id is not None:
        lines.append(f"Content-ID: {content_id}")
    lines += ["", f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if content_id is not None:
        lines.append(f"Content-ID: {content_id}")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def change_set_part(
    part: ChangeSet, answers: Sequence[LedgerAnswer], version: str, call: HttpCall, number: int
) -> bytes:
    boundary = f"changesetresponse_{number}"
    inner = [
        http_part(answer, request.content_id, version, call)
        for request, answer in zip(part.requests, answers, strict=True)
    ]
    return f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n".encode() + multipart(inner, boundary)


def multipart(parts: Iterable[bytes], boundary: str) -> bytes:
    mark = f"--{boundary}".encode()
    return b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def batch_parts(call: HttpCall, version: str) -> list[Part] | B1Reply:
    kind = call.headers.get("content-type", "")
    boundary = _BOUNDARY.search(kind)
    if call.method != "POST" or boundary is None or '"' in kind or not kind.startswith("multipart/mixed"):
        return html_reply(405)
    try:
        return _read_batch(call.body, boundary[1], strict=version == "v2")
    except RefusedError as error:
        return answer_reply(error.answer(), version, call)
