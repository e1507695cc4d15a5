"""The real server on loopback, spoken to as no client speaks: slow, cut, smuggled, oversized, not HTTP at all."""

import asyncio
import contextlib
import logging
import re
from dataclasses import dataclass, field
from random import Random
from typing import Any

from connectors.webhooks.listener import WebhookListener
from connectors.webhooks.server import WebhookServer
from connectors.webhooks.settings import WebhookSettings
from tests.fuzz.door import STATUSES, Signer
from tests.fuzz.harness import CLOCK, Violation
from tests.fuzz.mutation import damage

SETTINGS = WebhookSettings(port=0, max_body_bytes=64 * 1024, read_timeout_s=0.3, answer_timeout_s=2)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_PATIENCE_S = 5.0
_QUIET_S = 0.06
_STEP_S = 0.02


@dataclass
class Speech:
    """What is said on one connection, piece by piece.

    Attributes:
        pieces: Bytes, and seconds of silence between them.
        taken: How many deliveries may be taken of it at most.
        hangs_up: Whether the speaker is gone without listening.
    """

    pieces: list[bytes | float] = field(default_factory=list)
    taken: int = 0
    hangs_up: bool = False


@dataclass
class Outcome:
    speeches: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


def draw(signer: Signer, random: Random) -> Speech:
    body = min((each.text for each in signer.bodies.examples), key=len)[:2000]
    signed = b"".join(name + b": " + value + b"\r\n" for name, value in signer.sign(body))
    start = b"POST " + signer.hook.path.encode() + b" HTTP/1.1\r\nHost: door\r\n"
    length = b"Content-Length: " + str(len(body)).encode() + b"\r\n"
    genuine = start + signed + length + b"\r\n" + body
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    match random.randrange(20):
        case 0:
            at = random.randrange(1, len(genuine))
            return Speech([genuine[:at], 0.02, genuine[at:]], 1)
        case 1:
            return Speech([bytes([each]) for each in genuine], 1)
        case 2:
            return Speech([genuine[: random.randrange(len(genuine))]], 0, hangs_up=random.random() < 0.5)
        case 3:
            return Speech([genuine[: -random.randrange(1, len(body))], 1.0], 0)
        case 4:
            return Speech([genuine * random.choice((2, 5))], 5)
        case 5:  # CL.TE and TE.CL: the second request inside the first's body must not be one
            inner = genuine
            te = random.choice(
                (
                    b"chunked",
                    b" chunked",
                    b"xchunked",
                    b"chunked, identity",
                    b"\tchunked",
                    b"CHUNKED",
                    b"chunked\r\nTransfer-Encoding: x",
                )
            )
            outer = (
                start
                + b"Content-Length: "
                + random.choice((b"4", b"0", str(len(inner) + 5).encode()))
                + b"\r\nTransfer-Encoding: "
                + te
            )
            return Speech([outer + b"\r\n\r\n0\r\n\r\n" + inner], 0)
        case 6:
            lengths = [b"Content-Length: " + each + b"\r\n" for each in (b"0", str(len(body)).encode(), b"5")]
            random.shuffle(lengths)
            return Speech([start + signed + b"".join(lengths[: random.choice((2, 3))]) + b"\r\n" + body + genuine], 0)
        case 7:
            lie = random.choice((b"-5", b"+5", b"0x5", b"5 5", b"5,5", b"", b"9" * 30, b"1e1", b"5\x00", b"\xd9\xa5"))
            # The same length twice is that length (RFC 9110, section 8.6).
            return Speech([start + signed + b"Content-Length: " + lie + b"\r\n\r\n" + body], int(lie == b"5,5"))
        case 8:
            return Speech([start + signed + b"Transfer-Encoding: chunked\r\n\r\n" + chunked], 1)
        case 9:
            size = random.choice(
                (b"-1", b"ffffffffffffffff", b"g", b"", b" 5", b"5;" + b"x" * 9000, b"0x5", b"5\n", b"1" * 40)
            )
            return Speech(
                [start + signed + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n" + body + b"\r\n0\r\n\r\n"], 0
            )
        case 10:
            return Speech([start + signed + b"Transfer-Encoding: chunked\r\n\r\n", *_trickle(8)], 0)
        case 11:
            return Speech(
                [
                    start
                    + signed
                    + b"X-A: "
                    + b"a" * random.choice((9000, 20_000, 200_000))
                    + b"\r\n"
                    + length
                    + b"\r\n"
                    + body
                ],
                1,
            )
        case 12:
            return Speech([start + signed + b"X-%d: y\r\n" * 2000 % tuple(range(2000)) + length + b"\r\n" + body], 1)
        case 13:
            method = random.choice(
                (
                    b"GET",
                    b"PUT",
                    b"HEAD",
                    b"TRACE",
                    b"CONNECT",
                    b"OPTIONS",
                    b"PRI * HTTP/2.0\r\n\r\nSM",
                    b"post",
                    b"P" * 5000,
                )
            )
            return Speech([genuine.replace(b"POST", method, 1)], 0)
        case 14:
            target = random.choice(
                (
                    b"*",
                    b"http://other/wms",
                    b"//x",
                    b"/%2e%2e/wms",
                    b"/wms?x=" + b"y" * 9000,
                    b"/\xff",
                    b"",
                    b"/w ms",
                    b"/wms#x",
                )
            )
            return Speech([genuine.replace(signer.hook.path.encode(), target, 1)], 1)
        case 15:
            bad = random.choice(
                (
                    b"X A: 1\r\n",
                    b": 1\r\n",
                    b"X: a\r\n b\r\n",
                    b"X\x00: 1\r\n",
                    b"X: \x00\r\n",
                    b"X: a\rb\r\n",
                    b"Host: b\r\n",
                    b"no colon\r\n",
                )
            )
            return Speech([start + bad + signed + length + b"\r\n" + body], 1)
        case 16:
            return Speech([start + signed + b"Expect: 100-continue\r\n" + length + b"\r\n", 0.05, body], 1)
        case 17:
            return Speech(
                [
                    random.choice(
                        (
                            b"\x16\x03\x01\x02\x00",
                            b"\r\n" * 200,
                            b"HTTP/1.1 200 OK\r\n\r\n",
                            b"PROXY TCP4 1 2 3 4\r\n",
                            b"\x00" * 500,
                            random.randbytes(300),
                        )
                    )
                ],
                0,
            )
        case 18:
            upgrade = (
                b"Connection: Upgrade\r\nUpgrade: "
                + random.choice((b"websocket", b"h2c"))
                + b"\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n"
            )
            return Speech([start + upgrade + signed + length + b"\r\n" + body], 1)
        case _:
            # Damage may say the whole of it a second time.
            return Speech([damage(genuine, random)], 2)


def _trickle(times: int) -> list[bytes | float]:
    return [b"1\r\nx\r\n", 0.1] * times


async def speak(speeches: int, seed: int, signers: list[Signer]) -> Outcome:
    """Say so much to one server; afterwards a genuine delivery is taken as before."""
    outcome, taken = Outcome(), 0
    complaints: list[str] = []

    async def take(_hook: Any, _items: Any) -> None:
        return None

    def wake(_connector: str) -> None:
        nonlocal taken
        taken += 1

    loop = asyncio.get_running_loop()
    former = loop.get_exception_handler()
    loop.set_exception_handler(
        lambda _loop, context: complaints.append(str(context.get("exception") or context.get("message")))
    )
    handler = _Complaints(complaints)
    logging.getLogger("uvicorn.error").addHandler(handler)
    # No delivery is remembered: each of them that is taken counts.
    hooks = [each.hook.__class__(**{**_fields(each.hook), "delivery_id": lambda _given: None}) for each in signers]
    try:
        async with WebhookListener(WebhookServer(hooks, take, CLOCK, SETTINGS, wake=wake).app, SETTINGS) as server:
            for number in range(speeches):
                random = Random(f"wire {seed}/{number}")
                signer = random.choice(signers)
                speech, before = draw(signer, random), taken
                try:
                    answer = await _say(server.url, speech)
                except Violation as error:
                    outcome.findings.append(f"{seed}/{number}: {error}; said {speech.pieces!r:.400}")
                    continue
                statuses = [int(each) for each in _STATUS.findall(answer)]
                for status in statuses:
                    outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
                fault = _fault(speech, statuses, taken - before)
                if fault is not None:
                    outcome.findings.append(
                        f"{seed}/{number}: {fault}; said {speech.pieces!r:.400}, heard {answer[:200]!r}"
                    )
                outcome.speeches += 1
            for signer in signers:
                before = taken
                body = signer.bodies.examples[0].text
                headers = [*signer.sign(body), (b"Connection", b"close"), (b"Content-Length", str(len(body)).encode())]
                lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
                request = b"POST " + signer.hook.path.encode() + b" HTTP/1.1\r\nHost: d\r\n" + lines + b"\r\n" + body
                if b" 200 " not in await _say(server.url, Speech([request])) or taken != before + 1:
                    outcome.findings.append(f"afterwards {signer.hook.path} takes nothing any more")
    finally:
        loop.set_exception_handler(former)
        logging.getLogger("uvicorn.error").removeHandler(handler)
    outcome.findings += [f"the server complains: {each}" for each in complaints]
    return outcome


def _fields(hook: Any) -> dict[str, Any]:
    return {name: getattr(hook, name) for name in hook.__dataclass_fields__}


def _fault(speech: Speech, statuses: list[int], taken: int) -> str | None:
    strange = [status for status in statuses if status not in STATUSES | {100, 431, 426, 505}]
    if strange:
        return f"answered {strange}"
    if taken > speech.taken:
        return f"{taken} deliveries taken, and at most {speech.taken} were said"
    return None


class _Complaints(logging.Handler):
    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        self._complaints.append(record.getMessage())


async def _say(url: str, speech: Speech) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    heard = bytearray()
    reader, writer = await asyncio.open_connection(host, int(port))

    async def listen() -> None:
        while piece := await reader.read(65_536):
            heard.extend(piece)

    listening = asyncio.create_task(listen())
    try:
        for piece in speech.pieces:
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
            else:
                await asyncio.wait([listening], timeout=piece)
        silent_s, length = 0.0, -1
        while not (speech.hangs_up or listening.done() or (heard and silent_s >= _QUIET_S)):
            # Without an answer the server has to end it: its time for reading is over.
            if silent_s > _PATIENCE_S:
                raise Violation("the connection stays open without an answer")
            silent_s = silent_s + _STEP_S if len(heard) == length else 0.0
            length = len(heard)
            await asyncio.wait([listening], timeout=_STEP_S)
    except ConnectionError:
        pass
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await listening
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return bytes(heard)
