"""What a folder promises, over every kind of inbox; then what only one of them has."""

import json
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import httpx
import pytest
import structlog

from connectors.base.errors import FatalError, RetriableError
from connectors.ims import source as source_module
from connectors.ims.inboxes import HttpsInbox, SftpInbox, open_inbox
from connectors.ims.inboxes.inbox import is_plain
from connectors.ims.settings import ImsSettings
from connectors.ims.source import ImsSource, unmapped_files, unread_files
from tests.connectors.ims.servers import CLIENT_KEY, HOST_KEY, PASSWORD, USER, WebFolder, sftp_server

KINDS = ("folder", "sftp", "https", "https-delete", "https-names", "https-nginx")


def move(event_id: str) -> str:
    line = {"type": "stock_adjusted", "event_id": event_id, "occurred_at": "2026-11-21T09:30:00Z", "sku": "A"}
    return json.dumps(line | {"location": "MAIN", "delta": "1", "reason": "found"})


def validated(folder: Path, **table: Any) -> ImsSettings:
    (folder / "key").write_bytes(CLIENT_KEY.export_private_key())
    (folder / "locked").write_bytes(CLIENT_KEY.export_private_key("pkcs8-pem", passphrase=PASSWORD))
    known_hosts = f"[127.0.0.1]:{table.pop('port', 0)} {HOST_KEY.export_public_key().decode()}"
    (folder / "known_hosts").write_text(known_hosts)
    context = {"folder": folder, "environ": {"PASSWORD": PASSWORD, "WRONG": "wrong"}}
    return ImsSettings.model_validate({"kind": "ims", "company": "acme", **table}, context=context)


@dataclass
class Place:
    """An inbox over a folder of this machine, and processes that read it."""

    kind: str
    folder: Path
    settings: ImsSettings
    clock: Any
    web: WebFolder
    stack: AsyncExitStack

    def inbox(self) -> Any:
        if self.kind.startswith("https"):
            return HttpsInbox(self.settings.inbox, self.settings, httpx.ASGITransport(self.web))
        return open_inbox(self.settings)

    def source(self, inbox: Any = None) -> ImsSource:
        source = ImsSource("wms", self.settings, self.clock, inbox=inbox or self.inbox())
        self.stack.push_async_callback(source.close)
        return source

    def write(self, name: str, *lines: str) -> Path:
        path = self.folder / name
        path.with_name(f"{name}.part").write_text("\n".join(lines))
        return path.with_name(f"{name}.part").rename(path)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
async def place(kind, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(source_module, "BATCH_LINES", 2)
    folder = tmp_path / "in"
    folder.mkdir()
    web = WebFolder(folder, index=kind.partition("-")[2] if kind in ("https-names", "https-nginx") else "etag")
    async with AsyncExitStack() as stack:
        tables: dict[str, dict[str, Any]] = {
            "folder": {"inbox": "in"},
            "https": {"inbox": "https://files.example/in/", "token": "env:PASSWORD"},
        }
        if kind == "sftp":
            port = await stack.enter_async_context(sftp_server())
            table: dict[str, Any] = {
                "inbox": f"sftp://{USER}@127.0.0.1:{port}{folder}",
                "known_hosts": "known_hosts",
                "key_file": "file:key",
                "port": port,
            }
        else:
            table = tables[kind.partition("-")[0]] | ({"done": "delete"} if kind == "https-delete" else {})
        yield Place(kind, folder, validated(tmp_path, **table), clock, web, stack)


async def read_all(source, cursor=None):
    ids = []
    while not (batch := await source.read(cursor)).idle:
        ids += [item.event_id for item in batch.items]
        cursor = batch.cursor
    return ids, cursor


async def test_names_are_read_in_sorted_order_and_nothing_else_is(place):
    place.write("b.jsonl", move("b1"), move("b2"), move("b3"))
    place.write("a.jsonl", move("a1"))
    (place.folder / "0.jsonl.part").write_text(move("no"))
    (place.folder / "notes.txt").write_text("no")
    (place.folder / "c.jsonl").mkdir()
    ids, cursor = await read_all(place.source())
    assert ids == ["a1", "b1", "b2", "b3"]
    assert await read_all(place.source(), cursor) == ([], cursor)


async def test_a_file_that_is_read_is_put_aside_only_when_it_is_acknowledged(place):
    place.write("a.jsonl", move("1"))
    source = place.source()
    batch = await source.read(None)
    assert place.names() == ["a.jsonl"]
    assert (await source.read(batch.cursor)).idle
    after = {"folder": ["done/a.jsonl"], "sftp": ["done/a.jsonl"], "https-delete": []}
    assert place.names() == after.get(place.kind, ["a.jsonl"])


async def test_reading_goes_on_after_the_last_line_that_was_acknowledged(place):
    place.write("a.jsonl", *(move(f"a{number}") for number in range(5)))
    place.write("b.jsonl", *(move(f"b{number}") for number in range(3)))
    cursor, seen = None, []
    while not (batch := await place.source().read(cursor)).idle:
        assert await place.source().read(cursor) == batch
        seen += [item.event_id for item in batch.items]
        cursor = batch.cursor
    assert seen == [*(f"a{number}" for number in range(5)), *(f"b{number}" for number in range(3))]


async def test_a_file_that_comes_back_is_not_read_again_and_other_content_is(place):
    path = place.write("a.jsonl", move("1"))
    ids, cursor = await read_all(place.source())
    os.utime(place.write("a.jsonl", move("1")), (1, 1))
    again, cursor = await read_all(place.source(), cursor)
    assert (ids, again) == (["1"], [])
    os.utime(place.write("a.jsonl", move("2"), move("3")), (2, 2))
    ids, cursor = await read_all(place.source(), cursor)
    assert ids == ["2", "3"]
    if path.exists():
        path.unlink()
    place.write("b.jsonl", move("4"))
    assert (await read_all(place.source(), cursor))[0] == ["4"]


async def test_a_file_that_was_exchanged_halfway_is_read_from_its_beginning(place):
    place.write("a.jsonl", *(move(each) for each in "123"))
    cursor = (await place.source().read(None)).cursor
    os.utime(place.write("a.jsonl", *(move(each) for each in "4567")), (1, 1))
    ids, cursor = await read_all(place.source(), cursor)
    assert ids == ["4", "5", "6", "7"]
    assert (await read_all(place.source(), cursor))[0] == []


async def test_a_file_that_was_exchanged_after_it_was_read_is_not_put_aside_for_it(place):
    place.write("a.jsonl", move("1"))
    source = place.source()
    cursor = (await source.read(None)).cursor
    os.utime(place.write("a.jsonl", move("2"), move("3")), (1, 1))
    ids, _ = await read_all(source, cursor)
    assert ids == ["2", "3"]


async def test_an_empty_file_is_done_and_does_not_come_back(place):
    place.write("a.jsonl")
    source = place.source()
    assert (await source.read(None)).idle
    asked = len(place.web.asked)
    assert (await source.read(None)).idle
    assert "GET /in/a.jsonl" not in place.web.asked[asked:]


class Crash(Exception):  # noqa: N818 -- not an error of anybody
    """The process is gone."""


class Breaking:
    """An inbox whose process dies before or after its nth call."""

    def __init__(self, inbox: Any, left: int, when: str) -> None:
        self._inbox, self.left, self._when = inbox, left, when

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inbox, name)
        if name in ("remember", "close"):
            return found

        async def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0 and self._when == "before":
                raise Crash(name)
            answer = await found(*arguments)
            if self.left == 0:
                if name == "open" and answer is not None:
                    answer.close()
                raise Crash(name)
            return answer

        return call


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_at_any_call_to_the_inbox_loses_and_repeats_nothing(place, when):
    point, reached = 0, True
    while reached:
        point += 1
        names = [f"{point:03}-{each}.jsonl" for each in "ab"]
        for name in names:
            place.write(name, *(move(f"{name}{number}") for number in range(3)))
        expected = [f"{name}{number}" for name in names for number in range(3)]
        breaking = Breaking(place.inbox(), point, when)
        source, ids = place.source(breaking), []
        cursor = None if point == 1 else cursor  # noqa: F821 -- of the last round
        try:
            while not (batch := await source.read(cursor)).idle:
                ids += [item.event_id for item in batch.items]
                cursor = batch.cursor
        except Crash:
            rest, cursor = await read_all(place.source(), cursor)
            ids += rest
        reached = breaking.left <= 0
        assert ids == expected
        for path in place.folder.glob("*.jsonl"):
            path.unlink()
    assert point > 5


async def test_a_file_nobody_reads_is_told_once_and_names_lead_nowhere_else(place):
    (place.folder / "notes.txt").write_text("x")
    source = place.source()
    with structlog.testing.capture_logs() as logs:
        await source.read(None)
        await source.read(None)
    assert [each["file"] for each in logs if each["event"] == "file_not_read"] == ["notes.txt"]
    inbox = place.inbox()
    for name in ("../secret.jsonl", "done/x.jsonl", "..", "", "a\0.jsonl", "a\n.jsonl", "\\x.jsonl", "x" * 256):
        assert not is_plain(name)
        assert await inbox.open(name, ()) is None
    await inbox.close()


async def test_a_file_that_no_mapping_takes_is_known_to_the_status_until_it_is_gone(place):
    place.write("a.jsonl", move("1"))
    (place.folder / "notes.txt").write_text("x")
    (place.folder / ".hidden").write_text("x")
    (place.folder / "b.jsonl.part").write_text("x")
    source = place.source()
    batch = await source.read((await source.read(None)).cursor)
    assert batch.idle
    assert unmapped_files(place.settings, batch.cursor) == ["notes.txt"]
    assert (await source.read(batch.cursor)).cursor == batch.cursor
    (place.folder / "notes.txt").unlink()
    gone = await place.source().read(batch.cursor)
    assert (gone.idle, gone.items) == (True, ())
    assert unmapped_files(place.settings, gone.cursor) == []


async def test_a_file_that_no_mapping_takes_is_known_before_anything_was_read(place):
    (place.folder / "notes.txt").write_text("x")
    batch = await place.source().read(None)
    assert (batch.idle, unmapped_files(place.settings, batch.cursor)) == (True, ["notes.txt"])
    place.write("a.jsonl", move("1"))
    assert [item.event_id for item in (await place.source().read(batch.cursor)).items] == ["1"]


async def test_an_inbox_says_when_a_file_was_modified(place):
    os.utime(place.write("a.jsonl", move("1")), (1_763_632_800, 1_763_632_800))
    inbox = place.inbox()
    await inbox.look()
    file = await inbox.open("a.jsonl", ())
    assert file.modified == datetime(2025, 11, 20, 10, 0, tzinfo=UTC)
    file.close()
    await inbox.close()


@pytest.mark.parametrize("kind", ["folder", "sftp"])
async def test_a_link_is_no_file(place, tmp_path):
    (tmp_path / "secret").write_text(move("1"))
    (place.folder / "a.jsonl").symlink_to(tmp_path / "secret")
    assert (await read_all(place.source()))[0] == []
    assert unread_files(place.settings) == []


@pytest.mark.parametrize("kind", ["sftp", "https"])
async def test_a_file_above_the_limit_is_not_fetched_and_the_remedy_is_told(place):
    place.settings = place.settings.model_copy(update={"max_file_bytes": 100})
    place.write("a.jsonl", move("1"))
    with pytest.raises(RetriableError, match=r"wms: .*a\.jsonl has more than 100 bytes; .* raise max_file_bytes"):
        await place.source().read(None)


@pytest.mark.parametrize("kind", ["sftp", "https"])
async def test_an_inbox_elsewhere_is_nobodys_guess_for_the_status(place):
    place.write("a.jsonl", move("1"))
    assert unread_files(place.settings) == []


# ---- SFTP


@pytest.mark.parametrize("kind", ["sftp"])
@pytest.mark.parametrize(
    "credentials",
    [
        {"password": "env:PASSWORD", "known_hosts": "known_hosts"},
        {"key_file": "file:key", "host_key": HOST_KEY.get_fingerprint()},
        {"key_file": "file:locked", "key_passphrase": "env:PASSWORD", "known_hosts": "known_hosts"},
    ],
)
async def test_sftp_signs_on_with_a_password_or_a_key(place, tmp_path, credentials):
    place.write("a.jsonl", move("1"))
    port = place.settings.inbox.port
    place.settings = validated(tmp_path, inbox=str(place.settings.inbox), port=port, **credentials)
    assert (await read_all(place.source()))[0] == ["1"]


@pytest.mark.parametrize("kind", ["sftp"])
@pytest.mark.parametrize(
    ("credentials", "told"),
    [
        ({"password": "env:WRONG", "known_hosts": "known_hosts"}, "does not let us in"),
        ({"password": "env:PASSWORD", "host_key": "SHA256:" + "a" * 43}, "not the one we know .it shows SHA256:"),
        ({"password": "env:PASSWORD", "known_hosts": "nobody"}, "not the one we know"),
        ({"key_file": "file:locked", "host_key": HOST_KEY.get_fingerprint()}, "no private key"),
        ({"key_file": "file:nobody", "host_key": HOST_KEY.get_fingerprint()}, "no private key"),
    ],
)
async def test_sftp_trusts_no_server_it_does_not_know_and_stops_where_it_is_refused(
    place, tmp_path, credentials, told, caplog
):
    (tmp_path / "nobody").write_text("# nobody\n")
    port = place.settings.inbox.port
    place.settings = validated(tmp_path, inbox=str(place.settings.inbox), port=port, **credentials)
    with pytest.raises(FatalError, match=told) as error:
        await place.source().read(None)
    assert PASSWORD not in str(error.value) + caplog.text + repr(place.settings)


@pytest.mark.parametrize("kind", ["sftp"])
async def test_sftp_that_is_gone_is_tried_again_and_found_when_it_is_back(place):
    place.write("a.jsonl", move("1"))
    inbox = place.inbox()
    source = place.source(inbox)
    assert isinstance(inbox, SftpInbox)
    address = inbox._address
    inbox._address = replace(address, port=1)
    with pytest.raises(RetriableError, match="see that the server runs"):
        await source.read(None)
    inbox._address = address
    first = await source.read(None)
    assert inbox._connection is not None
    inbox._connection.abort()
    await inbox._connection.wait_closed()
    with pytest.raises(RetriableError):
        await source.read(first.cursor)
    assert (await source.read(first.cursor)).idle
    assert place.names() == ["done/a.jsonl"]


@pytest.mark.parametrize("kind", ["sftp"])
async def test_sftp_without_its_folder_says_so(place):
    place.folder.rmdir()
    with pytest.raises(RetriableError, match="is no folder; make it there"):
        await place.source().read(None)


@pytest.mark.parametrize("kind", ["sftp"])
async def test_sftp_takes_no_file_that_changes_while_it_is_fetched(place, monkeypatch):
    path = place.write("a.jsonl", move("1"))
    fetch = SftpInbox._fetch

    async def grow(self, sftp, name):
        spool = await fetch(self, sftp, name)
        path.write_text(move("1") + "\n" + move("2"))
        return spool

    monkeypatch.setattr(SftpInbox, "_fetch", grow)
    with pytest.raises(RetriableError, match="changes while it is read"):
        await place.source().read(None)
    monkeypatch.undo()
    assert (await read_all(place.source()))[0] == ["1", "2"]


def test_asyncssh_says_nothing_about_users_and_paths():
    assert not asyncssh.logging.logger.isEnabledFor(20)


# ---- HTTPS


@pytest.mark.parametrize("kind", ["https"])
@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ((401, {}, b""), FatalError, "fix token or password"),
        ((503, {"retry-after": "7"}, b""), RetriableError, "the index answered 503"),
        ((301, {"location": "https://evil.example/"}, b""), RetriableError, "the index answered 301"),
        ((500, {}, b"canary-5ecret"), RetriableError, "the index answered 500"),
        ((200, {}, b"<html>"), RetriableError, "no JSON array"),
        ((200, {}, b'{"a": 1}'), RetriableError, "no JSON array"),
        ((200, {}, b"[" * 100_000), RetriableError, "no JSON array"),
        ((200, {}, b" " * 5_000_000), RetriableError, "the index answers more than"),
        ((200, {}, json.dumps(["x"] * 6000).encode()), RetriableError, "more than 5000 files"),
        ((200, {"content-encoding": "gzip"}, b"\x1f\x8b"), RetriableError, "compressed"),
    ],
)
async def test_an_index_that_is_none_is_told_with_its_remedy(place, answer, error, told):
    place.web.answers["/in/"] = answer
    with pytest.raises(error, match=told) as raised:
        await place.source().read(None)
    assert PASSWORD not in str(raised.value)
    if answer[0] == 503:
        assert raised.value.retry_after_s == 7.0


@pytest.mark.parametrize("kind", ["https"])
async def test_names_in_an_index_that_lead_elsewhere_are_passed_over(place):
    place.write("a b#1?.jsonl", move("1"))
    rows = ["../../etc/x.jsonl", "/etc/x.jsonl", "a/b.jsonl", 7, None, {"no": 1}, "a b#1?.jsonl"]
    place.web.answers["/in/"] = (200, {}, json.dumps(rows).encode())
    assert (await read_all(place.source()))[0] == ["1"]
    assert {each.partition(" ")[2] for each in place.web.asked} == {"/in/", "/in/a b#1?.jsonl"}


@pytest.mark.parametrize("kind", ["https", "https-nginx"])
async def test_a_kept_file_is_fetched_once_and_then_only_looked_for_in_the_index(place):
    place.write("a.jsonl", move("1"))
    source = place.source()
    _, cursor = await read_all(source)
    for _ in range(3):
        assert (await source.read(cursor)).idle
    assert place.web.asked.count("GET /in/a.jsonl") == 1
    assert (await place.source().read(cursor)).idle
    assert place.web.asked.count("GET /in/a.jsonl") == 1


@pytest.mark.parametrize("kind", ["https-names"])
async def test_an_index_of_names_needs_a_server_that_tells_contents_apart(place):
    place.write("a.jsonl", move("1"))
    place.web.validates = False
    with pytest.raises(RetriableError, match="nothing tells whether"):
        await place.source().read(None)


@pytest.mark.parametrize("kind", ["https-delete"])
async def test_deleting_needs_a_server_that_allows_it_and_tells_contents_apart(place):
    place.write("a.jsonl", move("1"))
    source = place.source()
    cursor = (await source.read(None)).cursor
    place.web.deletes = False
    with pytest.raises(FatalError, match='write done = "keep"'):
        await source.read(cursor)
    place.web.validates = False
    with pytest.raises(FatalError, match="neither ETag nor Last-Modified"):
        await place.source().read(None)


@pytest.mark.parametrize("kind", ["https"])
async def test_a_file_that_is_cut_off_on_its_way_is_fetched_again(place):
    path = place.write("a.jsonl", move("1"), move("2"))
    place.web.answers["/in/a.jsonl"] = (200, {}, path.read_bytes()[:200])
    with pytest.raises(RetriableError, match="another length than was said"):
        await place.source().read(None)
    place.web.answers.clear()
    assert (await read_all(place.source()))[0] == ["1", "2"]


@pytest.mark.parametrize("kind", ["https"])
async def test_the_memory_of_read_files_is_bounded_and_keeps_those_that_are_there(place, monkeypatch):
    monkeypatch.setattr("connectors.ims.inboxes.https.REMEMBERED", 3)
    for number in range(4):
        place.write(f"kept-{number}.jsonl", move(f"k{number}"))
    source = place.source()
    _, cursor = await read_all(source)
    for number in range(8):
        path = place.write(f"gone-{number}.jsonl", move(f"g{number}"))
        ids, cursor = await read_all(source, cursor)
        assert ids == [f"g{number}"]
        path.unlink()
        await source.read(cursor)
    place.write("last.jsonl", move("last"))
    ids, cursor = await read_all(source, cursor)
    assert ids == ["last"]
    assert len(json.loads(cursor)["memory"]) <= 4 + 1 + 3
    assert (await read_all(place.source(), cursor))[0] == []


@pytest.mark.parametrize("kind", ["https"])
async def test_a_user_signs_on_by_basic_authentication(place, tmp_path):
    place.settings = validated(tmp_path, inbox="https://wms@files.example/in", password="env:PASSWORD")
    seen = []

    async def app(scope, receive, send):
        seen.append(dict(scope["headers"])[b"authorization"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"[]"})

    inbox = HttpsInbox(place.settings.inbox, place.settings, httpx.ASGITransport(app))
    assert await inbox.look() == []
    await inbox.close()
    assert seen == [b"Basic d21zOmNhbmFyeS01ZWNyZXQ="]
