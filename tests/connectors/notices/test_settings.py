"""`[notices]`: what it takes and what it refuses, in words that name the remedy."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.notices.settings import NoticesSettings

SMTP = {"host": "mail.example", "sender": "streams@example.com"}
HOOK = {"webhook": "https://hooks.example/x"}


def of(data: dict[str, Any], **context: object) -> NoticesSettings:
    environ = {"HOOK": "https://hooks.example/canary-t0ken", "S": "canary-5ecret"}
    return NoticesSettings.model_validate(data, context={"folder": Path(), "environ": environ, **context})


def test_without_targets_nobody_is_told() -> None:
    assert of({}).targets == {}


def test_an_address_may_be_a_secret_and_is_shown_to_nobody() -> None:
    settings = of({"targets": {"ops": {"webhook": "env:HOOK", "secret": "env:S"}, "all": HOOK}})
    assert settings.targets["ops"].webhook is not None
    assert settings.targets["ops"].webhook.reveal() == "https://hooks.example/canary-t0ken"
    assert "canary" not in repr(settings) + settings.model_dump_json()
    assert "hooks.example" not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"targets": {"ops": {"webhook": "http://hooks.example/x"}}}, "write https://"),
        ({"targets": {"ops": {"webhook": "ftp://hooks.example/x"}}}, "write https://"),
        ({"targets": {"ops": {"webhook": "hooks.example"}}}, "env:NAME"),
        ({"targets": {"ops": {}}}, "write webhook or email"),
        ({"smtp": SMTP, "targets": {"ops": {**HOOK, "email": "a@b.example"}}}, "write webhook or email"),
        ({"targets": {"ops": {"email": "a@b.example"}}}, "add [notices.smtp]"),
        ({"smtp": SMTP, "targets": {"ops": {"email": "a b@example"}}}, "write name@host"),
        ({"smtp": SMTP, "targets": {"ops": {"email": "a@b.example", "secret": "env:S"}}}, "take the secret out"),
        ({"targets": {"ops": {**HOOK, "owners": "nobody"}}}, "write one of: customer service, finance"),
        ({"targets": {"ops": {**HOOK, "kinds": ["dead", "dread"]}}}, "write one of: dead, parked"),
        ({"targets": {"o p s": HOOK}}, "letters, digits"),
        ({"smtp": {**SMTP, "security": "none"}}, '"starttls" or "tls"'),
        ({"smtp": {**SMTP, "username": "u"}}, "go together"),
        ({"smtp": {**SMTP, "password": "literal"}}, "never written here"),
        ({"smtp": {**SMTP, "cafile": "nowhere.pem"}}, "names no file"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(data: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        of(data)
    assert words in str(caught.value)


def test_on_this_machine_and_in_a_local_setup_plain_http_is_accepted() -> None:
    assert of({"targets": {"ops": {"webhook": "http://127.0.0.1:9/x"}}}).targets
    assert of({"targets": {"ops": {"webhook": "http://hooks.example/x"}}}, local=True).targets
    assert of({"smtp": {**SMTP, "host": "127.0.0.1", "security": "none"}}).smtp
