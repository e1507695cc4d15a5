"""A digest reaches a webhook and a mail server, and what they answer decides what becomes of it."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from connectors.base.clock import SystemClock
from connectors.base.errors import ConnectorError, FatalError, RejectedError, RetriableError
from connectors.base.settings import Secret
from connectors.notices.digest import DigestMessage, NoticeGroup
from connectors.notices.mail import MailSender
from connectors.notices.settings import SmtpSettings
from connectors.notices.webhook import WebhookSender
from schemas.records import Notice
from tests.connectors.notices.servers import MailServer, WebServer, listening

AT = datetime(2026, 12, 1, 9, tzinfo=UTC)
NOTICE = Notice(
    id="5a0bc61dbfad86c3",
    kind="dead",
    severity="warning",
    company="acme",
    connector="shop",
    order_id="1001",
    letter="0123456789abcdef",
    reason="unmapped_tax_code",
    owner="finance",
    text="tax code GB-5 is not mapped",
    next_step="companies.*.tax.codes",
    at=AT,
    dedupe_key="letter/0123456789abcdef",
)
GROUP = NoticeGroup("dead", "warning", "acme", None, "finance", "unmapped_tax_code", 10_000, AT, AT, (NOTICE,))
MESSAGE = DigestMessage("0f1e2d3c", (GROUP,))
URL_TOKEN = "canary-t0ken"


def hook(port: int, secret: str | None = None) -> WebhookSender:
    url = Secret("env:HOOK", f"http://127.0.0.1:{port}/{URL_TOKEN}")
    return WebhookSender("ops", url, None if secret is None else Secret("env:S", secret), SystemClock())


async def test_a_webhook_gets_the_digest_as_json_with_a_signature_that_its_owner_can_check() -> None:
    server = WebServer()
    async with listening(server.handle) as port:
        sender = hook(port, "whsec_" + base64.b64encode(b"shared").decode())
        await sender.send(MESSAGE)
        await sender.close()
    (headers, body) = server.requests[0]
    signed = hmac.new(b"shared", f"0f1e2d3c.{headers['webhook-timestamp']}.".encode() + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(signed).decode()}"
    assert headers["webhook-id"] == "0f1e2d3c"
    (group,) = json.loads(body)["groups"]
    assert (group["count"], group["reason"], group["owner"]) == (10_000, "unmapped_tax_code", "finance")
    assert group["examples"][0]["letter"] == "0123456789abcdef"


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, RetriableError), (429, RetriableError), (302, RetriableError), (401, FatalError), (422, RejectedError)],
)
async def test_an_answer_of_a_webhook_means(status: int, error: type[ConnectorError]) -> None:
    server = WebServer([status])
    async with listening(server.handle) as port:
        sender = hook(port)
        with pytest.raises(error) as caught:
            await sender.send(MESSAGE)
        await sender.send(MESSAGE)
        await sender.close()
    assert URL_TOKEN not in str(caught.value)
    assert "webhook-signature" not in server.requests[0][0]


async def test_a_webhook_that_is_not_there_is_tried_again_and_its_address_stays_secret() -> None:
    async with listening(WebServer().handle) as port:
        pass
    sender = hook(port)
    with pytest.raises(RetriableError) as caught:
        await sender.send(MESSAGE)
    await sender.close()
    assert URL_TOKEN not in str(caught.value)


def mail(port: int, **changes: object) -> MailSender:
    smtp = SmtpSettings.model_validate(
        {"host": "127.0.0.1", "port": port, "security": "none", "sender": "streams@example.com", **changes}
    )
    return MailSender("finance", smtp, ["ar@example.com", "cfo@example.com"], SystemClock())


async def test_a_mail_says_how_many_who_acts_and_what_helps() -> None:
    server = MailServer()
    async with listening(server.handle) as port:
        await mail(port).send(MESSAGE)
    (sent,) = server.mails
    assert server.recipients == ["ar@example.com", "cfo@example.com"]
    assert "Subject: [streams] acme: 10,000 dead: unmapped_tax_code" in sent
    assert "Message-ID: <0f1e2d3c@example.com>" in sent
    for words in (
        "finance acts",
        "order 1001, dead letter 0123456789abcdef: tax code GB-5 is not mapped",
        "... and 9,999 more",
        "What helps: companies.*.tax.codes",
        "streams dlq group --owner 'finance'",
    ):
        assert words in sent.replace("=\r\n", "").replace("=\n", "")


@pytest.mark.parametrize(
    ("refuses", "error"),
    [
        ({"DATA.": "451 later"}, RetriableError),
        ({"DATA.": "554 spam"}, RejectedError),
        ({"MAIL": "451 busy"}, RetriableError),
        ({"RCPT": "450 greylisted"}, RetriableError),
        ({"RCPT": "550 nobody"}, FatalError),
        ({"EHLO": "421 closing", "HELO": "421 closing"}, RetriableError),
    ],
)
async def test_an_answer_of_a_mail_server_means(refuses: dict[str, str], error: type[ConnectorError]) -> None:
    server = MailServer(refuses)
    async with listening(server.handle) as port:
        with pytest.raises(error) as caught:
            await mail(port).send(MESSAGE)
    assert "example.com" not in str(caught.value)
    assert server.mails == []


async def test_a_sign_on_that_is_refused_is_for_a_person_and_no_password_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "canary-5ecret")
    server = MailServer({"AUTH": "535 no"})
    async with listening(server.handle) as port:
        with pytest.raises(FatalError) as caught:
            await mail(port, username="streams", password="env:SMTP_PASSWORD").send(MESSAGE)
    assert "canary" not in str(caught.value)


async def test_a_mail_server_that_is_not_there_is_tried_again() -> None:
    async with listening(MailServer().handle) as port:
        pass
    with pytest.raises(RetriableError):
        await mail(port).send(MESSAGE)


async def test_words_of_others_make_no_header_and_no_line_of_their_own() -> None:
    evil = replace(NOTICE, text="x\r\nBcc: evil@example.com\r\n.\r\nMAIL FROM:<a@b>", company="acme\r\nBcc: me")
    server = MailServer()
    async with listening(server.handle) as port:
        group = replace(GROUP, company=evil.company, examples=(evil,), count=1)
        await mail(port).send(DigestMessage("1", (group,)))
    (sent,) = server.mails
    assert not [line for line in sent.splitlines() if line.startswith(("Bcc", "MAIL"))]
    assert server.recipients == ["ar@example.com", "cfo@example.com"]
