"""What the Service Layer's HTTP responses say.

The answer, whether a write happened, whether the session still stands.
"""

import re
from collections.abc import Mapping
from datetime import datetime

import httpx

from connectors.base.http import retry_after_s
from connectors.sap_b1.change_set import B1Answer, IncompleteError, decode_body, parse_reads
from connectors.sap_b1.error_codes import OutcomeClass, Phase, classify, redact
from connectors.sap_b1.service_layer import AnswerUnknownError, UnavailableError, describe


def checked_write(response: httpx.Response, now: datetime) -> B1Answer:
    """The answer to a whole write, where it says for certain what happened.

    Args:
        response: As it came.
        now: Our time, for a `Retry-After` that is a date.

    Raises:
        AnswerUnknownError: Any 5xx, a redirect, or a 2xx that cannot be read.
        UnavailableError: B1 took nothing in: throttled, or it refuses the session that it has just given.
    """
    try:
        answer = B1Answer(response.status_code, decode_body(response.content), dict(response.headers))
    except ValueError:
        answer = B1Answer(response.status_code, None, dict(response.headers))
        if answer.ok:
            raise AnswerUnknownError("B1 answered a write with something that is not JSON") from None
    if answer.ok:
        return answer
    match classify(Phase.WRITE, answer.status, *answer.error).outcome:
        case OutcomeClass.UNKNOWN:
            raise AnswerUnknownError(
                f"B1 or a proxy before it failed after a write was sent: {_words_of(answer, response)}",
                answered=True,
                retry_after_s=retry_after_s(response.headers, now),
            )
        case OutcomeClass.UNAVAILABLE:
            raise UnavailableError(
                f"B1 takes no writes for now: {_words_of(answer, response)}",
                retry_after_s=retry_after_s(response.headers, now),
            )
        case OutcomeClass.SESSION:
            raise UnavailableError("B1 refuses a session that it has just given")
        case _:
            return answer


def _refusal_in(response: httpx.Response) -> B1Answer | None:
    """The answer, or the part of a batch's answer, that says no: a batch ends with it."""
    if response.status_code >= 400:
        return answer_of(response)
    if _REFUSED_PART.search(response.content) is None:
        return None
    try:
        answers = parse_reads(response.headers.get("content-type", ""), response.content)
    except IncompleteError:
        return None
    return next((answer for answer in answers if answer.status >= 400), None)


_REFUSED_PART = re.compile(rb"^HTTP/\d(?:\.\d)? +[45]\d\d\b", re.MULTILINE)


def why_stale(response: httpx.Response) -> str | None:
    """What in an answer asks for a new login: B1 does not know the session, or its node is stale (407, live)."""
    answer = _refusal_in(response)
    if answer is None:
        return None
    if answer.status == 401:
        return "session"
    # The status belongs to the number: a customer's notification procedure may use 301 and 407, too
    return "node" if answer.error[0] == "407" and answer.status >= 500 else None


def label_of(response: httpx.Response) -> str:
    answer = _refusal_in(response)
    if answer is None:
        return "ok"
    code, text = answer.error
    return (
        f"http_{answer.status // 100}xx" if code is None else classify(Phase.PART, answer.status, code, text).sap_code
    )


def answer_of(response: httpx.Response) -> B1Answer:
    try:
        return B1Answer(response.status_code, decode_body(response.content), dict(response.headers))
    except ValueError:
        return B1Answer(response.status_code, None, dict(response.headers))


def cookies_of(response: httpx.Response) -> dict[str, str]:
    cookies = {}
    for header in response.headers.get_list("set-cookie"):
        name, _, value = header.partition(";")[0].partition("=")
        if name.strip():
            cookies[name.strip()] = value.strip()
    return cookies


def cookie_header(cookies: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def _words_of(answer: B1Answer, response: httpx.Response) -> str:
    """What B1 said, or the page of a proxy: its text without the markup, shortened."""
    text = "" if answer.error[0] is not None else _TAG.sub(" ", response.text[:_PAGE_LENGTH])
    words = redact(" ".join(text.split()), 160)
    return f"{describe(answer)}, {words}" if words else describe(answer)


_TAG = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_PAGE_LENGTH = 4096


def unreachable(error: httpx.HTTPError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "B1's certificate is not trusted, or is for another host; give the CA file that signed it as verify_tls"
    return f"B1 cannot be reached ({type(error).__name__})"
