import json
import pickle

import pytest
from pydantic import ValidationError

from connectors.base.settings import ConnectorSettings, Secret, Settings

CANARY = "canary-5ecret"


class _Login(Settings):
    password: Secret


def _login(tmp_path, reference, **environ):
    return _Login.model_validate({"password": reference}, context={"folder": tmp_path, "environ": environ})


def test_a_secret_is_read_from_the_environment_or_a_file(tmp_path):
    (tmp_path / "password").write_text(f"{CANARY}\n")
    assert _login(tmp_path, "env:PW", PW=CANARY).password.reveal() == CANARY
    assert _login(tmp_path, "file:password").password.reveal() == CANARY


def test_a_secret_shows_itself_to_nobody(tmp_path):
    login = _login(tmp_path, "env:PW", PW=CANARY)
    secret = login.password
    shown = [
        repr(secret),
        str(secret),
        f"{secret:>20}",
        f"{secret!r}",
        login.model_dump_json(),
        repr(login),
        str(login),
    ]
    shown += [
        json.dumps(login.model_dump(mode="json")),
        repr(pickle.loads(pickle.dumps(secret))),
        repr(login.model_dump()),
    ]
    assert not [text for text in shown if CANARY in text]
    assert "***" in shown[0]


@pytest.mark.parametrize("literal", [CANARY, "", "env:", f"plain:{CANARY}", 7, None, [CANARY]])
def test_a_literal_is_refused_with_the_remedy_and_without_the_literal(tmp_path, literal):
    with pytest.raises(ValidationError) as refused:
        _login(tmp_path, literal)
    assert "env:NAME or file:path" in str(refused.value)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("reference", ["env:MISSING", "file:missing"])
def test_a_reference_to_nothing_is_a_fault_of_the_configuration(tmp_path, reference):
    with pytest.raises(ValidationError, match=r"(?i)missing"):
        _login(tmp_path, reference)


def test_an_empty_start_is_none_and_one_order_source_is_a_list():
    settings = ConnectorSettings.model_validate(
        {"kind": "x", "company": "acme", "start_at": "", "order_source": "shop"}
    )
    assert settings.start_at is None
    assert settings.order_source == ("shop",)


def test_a_start_without_an_offset_and_an_unknown_key_are_refused():
    with pytest.raises(ValidationError) as refused:
        ConnectorSettings.model_validate({"kind": "x", "company": "a", "start_at": "2026-01-01T00:00:00", "inbocks": 1})
    assert {error["loc"] for error in refused.value.errors()} == {("start_at",), ("inbocks",)}
