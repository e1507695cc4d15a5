"""A digest as an e-mail, by SMTP."""

from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib
import structlog

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RejectedError, RetriableError
from connectors.notices.digest import DigestMessage
from connectors.notices.settings import SmtpSettings

log = structlog.get_logger(__name__)

_TIMEOUT_S = 30.0


class MailSender:
    """Sends to some addresses; a connection each time, for messages are minutes apart.

    Args:
        name: Of the target; errors begin with it.
        smtp: The mail server.
        addresses: Who gets it.
        clock: The date in the message.
    """

    def __init__(self, name: str, smtp: SmtpSettings, addresses: Sequence[str], clock: Clock) -> None:
        self._name, self._smtp, self._addresses, self._clock = name, smtp, tuple(addresses), clock

    async def close(self) -> None:
        """Nothing is open between two messages."""

    async def send(self, message: DigestMessage) -> None:
        """Deliver; errors as of `WebhookSender.send`."""
        smtp, what = self._smtp, f"notices to {self._name}: the mail server"
        try:
            refused, _ = await aiosmtplib.send(
                self._mail(message),
                hostname=smtp.host,
                port=smtp.port,
                username=smtp.username,
                password=None if smtp.password is None else smtp.password.reveal(),
                use_tls=smtp.security == "tls",
                start_tls=smtp.security == "starttls",
                cert_bundle=None if smtp.cafile is None else str(smtp.cafile),
                timeout=_TIMEOUT_S,
            )
        except aiosmtplib.SMTPAuthenticationError as error:
            raise FatalError(f"{what} refuses our sign-on with {error.code}; fix notices.smtp") from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = sorted({each.code for each in error.recipients})
            if min(codes, default=0) >= 500:
                raise FatalError(f"{what} knows none of the addresses ({codes[0]}); fix the target's email") from None
            raise RetriableError(f"{what} takes none of the addresses for now ({codes})") from None
        except aiosmtplib.SMTPResponseException as error:
            if isinstance(error, aiosmtplib.SMTPDataError) and error.code >= 500:
                raise RejectedError(f"{what} refuses the message with {error.code}") from None
            raise RetriableError(f"{what} answers {error.code}") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            # By its class: its text may hold addresses.
            raise RetriableError(f"{what} cannot be used ({type(error).__name__})") from None
        if refused:
            log.warning("addresses_refused", target=self._name, items=len(refused))

    def _mail(self, message: DigestMessage) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = message.subject
        mail["From"] = self._smtp.sender
        mail["To"] = ", ".join(self._addresses)
        mail["Date"] = format_datetime(self._clock.now())
        mail["Message-ID"] = f"<{message.id}@{self._smtp.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail
