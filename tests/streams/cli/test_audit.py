"""`streams audit`: who changed what, and whether the chain of records is whole."""

from schemas.records import AuditRecord
from tests.streams.cli.conftest import Streams, at_once
from tests.streams.facts import NOW, World


def accept(streams: Streams) -> None:
    """A command that changes something."""
    named = ("topics", "accept", "stock-adjusted/1", "--why", "disk lost", "--by", "ann")
    assert streams(*named).code == 1
    assert streams("audit", "--json").data == [], "nothing was changed"
    assert streams(*named, "--yes").code == 0


def test_it_shows_who_did_what_when_and_why(streams: Streams, lost: World) -> None:
    accept(streams)
    begun, ended = streams("audit", "--json").data
    assert begun["result"] is None
    assert ended["command"] == begun["command"]
    assert (ended["by"], ended["action"], ended["what"]) == ("ann", "topics accept", "stock-adjusted/1")
    assert ended["why"] == "disk lost"
    assert "3 events were published and never read" in ended["result"]
    assert "disk lost" in streams("audit").out
    assert streams("audit", "--json", "--company", "nobody").data == []


def test_a_whole_chain_is_exit_0_and_a_broken_one_exit_1(streams: Streams, lost: World) -> None:
    empty = streams("audit", "verify", "--json")
    assert (empty.code, empty.data["records"], empty.data["whole"], empty.data["broken_at"]) == (0, 0, True, None)
    accept(streams)
    ran = streams("audit", "verify", "--json")
    assert (ran.code, ran.data["records"], ran.data["whole"], ran.data["broken_at"]) == (0, 2, True, None)
    assert "whole" in streams("audit", "verify").out
    forged = AuditRecord(number=2, prev_digest=bytes(16), id="x", at=NOW, by="eve", action="x", command="x", what="x")
    at_once(lost.log.send("audit", 0, b"", lost.codec.encode(forged)))
    ran = streams("audit", "verify", "--json")
    assert (ran.code, ran.data["records"], ran.data["whole"], ran.data["broken_at"]) == (1, 2, False, 2)
    assert "broken at offset 2" in streams("audit", "verify").out
    assert len(streams("audit", "--json").data) == 2, "what does not stand is not shown"
