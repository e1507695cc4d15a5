"""What is fetched is what is checked in. A stand-in for the download serves what a test has put there."""

import hashlib
import socket
import sys
from pathlib import Path

import pytest

from lab.kafka import __main__ as command
from lab.kafka import jars
from lab.kafka.broker import check_reachable
from lab.kafka.errors import KafkaSetupError

CONTENT = {"kafka-clients": b"one", "log4j-core": b"two"}


class Store:
    """Where the jars come from. `fetched` has the coordinates that were asked for, in order."""

    def __init__(self) -> None:
        self.content = dict(CONTENT)
        self.fetched: list[str] = []

    def fetch(self, context, group: str, artifact: str, version: str) -> Path:
        self.fetched.append(f"{group}:{artifact}:{version}")
        path = Path(context.repo_cache) / f"{artifact}-{version}.jar"
        path.write_bytes(self.content[artifact])
        return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    rows = [f"{hashlib.sha256(text).hexdigest()}  org.example:{name}:1.0\n" for name, text in CONTENT.items()]
    (tmp_path / "list").write_text("".join(rows), encoding="utf-8")
    monkeypatch.setattr(jars, "LIST", tmp_path / "list")
    monkeypatch.setenv("B1_STREAMS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    store = Store()

    class Artifact:
        def __init__(self, *coordinate) -> None:
            self.coordinate = coordinate

        def artifact(self):
            return self

        def resolve(self) -> Path:
            return store.fetch(*self.coordinate)

        def at_version(self, version: str):
            return Artifact(*self.coordinate, version)

    from jgo.maven import MavenContext

    def project(context: MavenContext, group: str, name: str) -> Artifact:
        return Artifact(context, group, name)

    monkeypatch.setattr(MavenContext, "project", project)
    return store


def test_the_list_names_every_jar_once_with_its_digest() -> None:
    found = jars.jars()
    assert len(found) == len({jar.file_name for jar in found}) == 46
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in found)
    assert f"org.apache.kafka:kafka_2.13:{jars.VERSION}" in map(str, found)


def test_each_jar_is_fetched_once_by_its_own_coordinate(store: Store) -> None:
    folder = jars.install()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "kafka-clients-1.0.jar": b"one",
        "log4j-core-1.0.jar": b"two",
    }
    assert jars.install() == folder
    assert store.fetched == ["org.example:kafka-clients:1.0", "org.example:log4j-core:1.0"]


def test_a_jar_with_other_bytes_is_refused_and_not_kept(store: Store) -> None:
    store.content["log4j-core"] = b"something else"
    with pytest.raises(KafkaSetupError, match=r"org\.example:log4j-core:1\.0 .*SHA-256"):
        jars.install()
    assert not (jars.cache_folder() / "log4j-core-1.0.jar").exists()


def test_a_jar_that_was_changed_afterwards_is_fetched_again_and_a_stranger_removed(store: Store) -> None:
    folder = jars.install()
    (folder / "log4j-core-1.0.jar").write_bytes(b"broken")
    (folder / "stranger.jar").write_bytes(b"")
    jars.install()
    assert store.fetched[2:] == ["org.example:log4j-core:1.0"]
    assert sorted(path.name for path in folder.iterdir()) == ["kafka-clients-1.0.jar", "log4j-core-1.0.jar"]


@pytest.mark.parametrize("error", [RuntimeError("not found"), ConnectionRefusedError("no network")])
def test_a_missing_network_is_one_line(store: Store, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(store, "fetch", fail)
    with pytest.raises(KafkaSetupError, match=r"kafka-clients:1\.0 could not be fetched.*KAFKA_BOOTSTRAP") as told:
        jars.install()
    assert "\n" not in str(told.value)


def test_without_the_extra_the_message_names_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(KafkaSetupError, match=r"pip install 'b1-streams\[lab\]'"):
        jars.install()


def test_a_cluster_that_somebody_has_spares_the_jars(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    assert command.main() == 0
    assert "no jars are fetched" in capsys.readouterr().out
    assert store.fetched == []
    assert not jars.cache_folder().exists()


def test_the_command_fetches_them_otherwise(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main() == 0
    assert len(store.fetched) == 2
    store.content["kafka-clients"] = b"something else"
    (jars.cache_folder() / "kafka-clients-1.0.jar").unlink()
    assert command.main() == 1
    told = capsys.readouterr().err
    assert "SHA-256" in told
    assert told.count("\n") == 1


def test_a_cluster_that_nobody_can_reach_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for servers in (f"127.0.0.1:{port}", "nonsense", f"[::1]:{port},127.0.0.1:{port}"):
        with pytest.raises(KafkaSetupError, match="no Kafka answers at KAFKA_BOOTSTRAP_SERVERS") as told:
            check_reachable(servers)
        assert "\n" not in str(told.value)
