"""What B1 says, as files in a folder: whole or not at all, the same however often it is written."""

import asyncio
import errno
import json
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base.errors import FatalError, OutcomeUnknownError, RetriableError
from connectors.base.sink import ChannelEffect
from connectors.ims import doctor
from connectors.ims.outbox import ImsSink
from connectors.ims.settings import ImsSettings
from connectors.ims.source import ImsSource, unread_files
from connectors.registry import KINDS
from lab.conformance.memory import FixedClock

AT = datetime(2026, 11, 30, 10, 15, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
ORDER = {
    "order_id": "B1-77",
    "order_number": "77",
    "doc_entry": 12,
    "company": "acme",
    "ship_to": {"name": "Zoë Ødum", "street": "4 Lime Row", "city": "Leeds", "postcode": "LS1 4XX", "country": "GB"},
    "lines": [{"line_id": "1", "sku": "TEA/250", "item_code": "TEA-250", "quantity": "2.500000", "location": "MAIN"}],
}
CONTENTS: dict[str, dict[str, Any]] = {
    "order_released": ORDER,
    "order_withdrawn": {"order_id": "B1-77", "doc_entry": 12, "company": "acme", "reason": "cancelled"},
    "item_changed": {
        "sku": "A",
        "item_code": "A",
        "name": "Tea",
        "unit": "Each",
        "active": True,
        "prices": {"1": "9.90"},
    },
    "stock_level": {"sku": "A", "sellable": "12.500000"},
    "price_changed": {"sku": "A", "list": 1, "price": "9.90", "currency": "GBP"},
    "delivery_posted": {"order_id": "1001", "shipment_id": "s1", "tracking_numbers": ["155"], "lines": []},
}


def settings_of(folder: Path, **fields: Any) -> ImsSettings:
    table = {"kind": "ims", "company": "acme", "out": {"outbox": "out/wms"}} | fields
    return ImsSettings.model_validate(table, context={"folder": folder, "environ": {}})


def sink_of(folder: Path, **fields: Any) -> ImsSink:
    return ImsSink("wms", settings_of(folder, **fields), FixedClock())


def effect(k: str = "level-1", type_: Any = "stock_level", **changes: Any) -> ChannelEffect:
    return ChannelEffect(**({"k": k, "type": type_, "content": CONTENTS[type_], "as_of": AT} | changes))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out/wms").iterdir()}


@pytest.mark.parametrize("type_", CONTENTS)
async def test_an_effect_is_one_file_of_one_line_with_its_content_as_it_is(tmp_path: Path, type_: str) -> None:
    (told,) = await sink_of(tmp_path).deliver([effect("k-1", type_)])
    assert told.outcome == "sent"
    (line,) = files(tmp_path)[f"{type_}-k-1.jsonl"].splitlines(keepends=True)
    assert line.endswith(b"\n")
    fields = json.loads(line)
    as_of = fields.pop("as_of", None)
    assert fields == {"type": type_, **CONTENTS[type_]}
    assert as_of == ("2026-11-30T09:15:00.250000+00:00" if type_.endswith(("changed", "level")) else None)


async def test_a_repetition_is_the_same_file_also_when_the_receiver_has_taken_it(
    tmp_path: Path,
) -> None:
    first = sink_of(tmp_path)
    await first.deliver([effect()])
    before = files(tmp_path)
    assert [each.outcome for each in await first.deliver([effect(doubtful=True)])] == ["sent"]
    assert [each.outcome for each in await first.deliver([effect(as_of=AT.astimezone(UTC))])] == ["sent"]
    assert files(tmp_path) == before
    (tmp_path / "out/wms/stock_level-level-1.jsonl").unlink()
    assert [each.outcome for each in await sink_of(tmp_path).deliver([effect(doubtful=True)])] == ["sent"]
    assert files(tmp_path) == before


async def test_a_file_with_other_content_is_never_rewritten_and_the_rest_goes_on(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    await sink.deliver([effect("a"), effect("b")])
    told = {each.k: each for each in await sink.deliver([effect("a", as_of=AT + timedelta(seconds=1)), effect("c")])}
    assert (told["a"].outcome, told["a"].reason) == ("refused", "channel_refused")
    assert "stock_level-a.jsonl is there with other content" in str(told["a"].error)
    assert told["c"].outcome == "sent"
    assert json.loads(files(tmp_path)["stock_level-a.jsonl"])["as_of"].endswith("00.250000+00:00")


async def test_an_identity_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (told,) = await sink_of(tmp_path).deliver([effect("../x")])
    assert told.outcome == "refused"
    assert files(tmp_path) == {}


async def test_a_folder_that_went_away_is_not_made_anew_and_nothing_is_lost(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    await sink.deliver([])
    (tmp_path / "out/wms").rmdir()
    with pytest.raises(RetriableError, match="No such file"):
        await sink.deliver([effect()])
    assert not (tmp_path / "out/wms").exists()
    (tmp_path / "out/wms").mkdir()
    assert [each.outcome for each in await sink.deliver([effect()])] == ["sent"]


async def test_a_folder_that_cannot_be_made_or_written_to_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_text("a file is in its place")
    with pytest.raises(RetriableError, match=r"wms: nothing can be written to .*out/wms: "):
        await sink_of(tmp_path).deliver([effect()])
    (tmp_path / "out").unlink()
    sink = sink_of(tmp_path)
    await sink.deliver([])
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RetriableError, match=r"no right to write there.*fix the folder's rights"):
        await sink.deliver([effect()])


async def test_a_full_disk_delivers_what_has_room_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, fsync, room = sink_of(tmp_path), os.fsync, 3

    def full(descriptor: int) -> None:
        nonlocal room
        room -= 1
        if room < 0 and not os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 -- of a descriptor
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    told = await sink.deliver([effect(f"l-{number}") for number in range(5)])
    assert sorted(each.outcome for each in told) == ["away", "away", "sent", "sent", "sent"]
    assert all("No space left" in str(each.error) for each in told if each.outcome == "away")
    assert sorted(files(tmp_path)) == sorted(f"stock_level-{each.k}.jsonl" for each in told if each.outcome == "sent")
    with pytest.raises(RetriableError, match="free space"):
        await sink.deliver([effect("l-9")])
    monkeypatch.setattr(os, "fsync", fsync)
    assert {each.outcome for each in await sink.deliver([effect(f"l-{number}") for number in range(5)])} == {"sent"}


async def test_no_name_shows_before_all_of_its_file_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, fsync = sink_of(tmp_path), os.fsync
    await sink.deliver([])
    seen: list[list[str]] = []

    def looking(descriptor: int) -> None:
        seen.append([name for name in files(tmp_path) if not name.endswith(".part")])
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", looking)
    await sink.deliver([effect()])
    # Of the file, then of the folder.
    assert seen == [[], ["stock_level-level-1.jsonl"]]


async def test_names_that_the_disk_may_forget_are_not_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("connectors.ims.outbox._fsync_folder", broken)
    with pytest.raises(OutcomeUnknownError, match="Input/output"):
        await sink_of(tmp_path).deliver([effect()])


async def test_what_an_earlier_process_left_half_written_is_cleared_at_the_start_and_others_files_are_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "out/wms").mkdir(parents=True)
    names = ("stock_level-l-1.jsonl.0a1b2c3d.part", "report.csv.part", "stock_level-l-0.jsonl")
    for name in names:
        (tmp_path / "out/wms" / name).write_text("{")
    await sink_of(tmp_path).deliver([])
    assert sorted(files(tmp_path)) == sorted(names[1:])


async def test_two_processes_that_write_the_same_effects_at_once_leave_each_file_whole(tmp_path: Path) -> None:
    effects = [effect(f"l-{number}") for number in range(100)]
    one, other = sink_of(tmp_path), sink_of(tmp_path)
    await one.deliver([])
    both = await asyncio.gather(one.deliver(effects), other.deliver(effects))
    # The second one clears away at its start what the first is writing; that one is told to try again.
    assert {each.outcome for told in both for each in told} <= {"sent", "away"}
    assert {each.outcome for each in await one.deliver(effects)} == {"sent"}
    fields = {"type": "stock_level", **CONTENTS["stock_level"], "as_of": AT.astimezone(UTC).isoformat()}
    line = json.dumps(fields, separators=(",", ":"))
    assert files(tmp_path) == {f"stock_level-l-{number}.jsonl": f"{line}\n".encode() for number in range(100)}


async def test_what_goes_out_does_not_come_back_in(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, inbox="out")
    await ImsSink("wms", settings, FixedClock()).deliver([effect()])
    assert unread_files(settings) == []
    assert (await ImsSource("wms", settings, FixedClock()).read(None)).items == ()


async def test_a_folder_shows_no_figures(tmp_path: Path) -> None:
    assert await sink_of(tmp_path).current([effect()]) == {}


async def test_a_connector_that_only_receives_needs_no_inbox_and_has_nothing_to_read(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert settings.out is not None
    assert settings.out.outbox == tmp_path / "out/wms"
    assert settings.model_dump(mode="json")["inbox"] is None
    source = ImsSource("wms", settings, FixedClock())
    batch = await source.read(None)
    assert (batch.items, batch.idle) == ((), True)
    await source.close()
    assert (unread_files(settings), KINDS["ims"].unmapped(settings, None)) == ([], [])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"out": None}, "Field required"),
        ({"out": {}}, "Field required"),
        ({"out": {"outbox": ""}}, "is not a folder"),
        ({"out": {"outbox": "sftp://host/out"}}, "is not a folder"),
        ({"token": "file:x", "out": {"outbox": "x"}}, "cannot be read|is for an inbox"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as found:
        settings_of(tmp_path, **fields)
    assert found.value.error_count() == 1


def test_a_sink_without_an_outbox_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"connectors\.wms\.out"):
        sink_of(tmp_path, inbox="in", out=None)


async def test_the_doctor_looks_at_the_outbox(tmp_path: Path) -> None:
    async def verdicts() -> dict[str, tuple[bool | None, str]]:
        findings = await doctor.examine("wms", settings_of(tmp_path), frozenset(), FixedClock())
        return {each.name: (each.ok, each.detail) for each in findings}

    assert (await verdicts())["outbox"] == (True, "not there yet; the first delivery makes it")
    (tmp_path / "out/wms").mkdir(parents=True)
    assert await verdicts() == {"outbox": (True, "can be written to")}
    (tmp_path / "out/wms").rmdir()
    (tmp_path / "out/wms").write_text("")
    assert (await verdicts())["outbox"][0] is False
