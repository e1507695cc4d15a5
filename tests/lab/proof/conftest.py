"""One Monday of the week: its files, the right ledger, the dead letters that must exist, the terms."""

import json

import pytest

from lab.feed.build import build_feed
from lab.feed.company import PLACES, UNMAPPED
from lab.feed.rows import read_rows
from lab.feed.writer import FeedWriter, written_files
from lab.proof.dead_letters import DeadLetterSeen
from lab.proof.terms import Terms
from tests.lab.proof.case import Case, letter_for
from tests.lab.proof.naive_poster import ACCOUNTS, TODAY, NaivePoster


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The week's Monday: its files, the right ledger, the dead letters that must exist, the terms."""
    rows = [row for row in read_rows() if row["InvoiceDate"] < "2011-10-25"]
    made = build_feed(rows, TODAY)
    folder = tmp_path_factory.mktemp("in")
    FeedWriter(made.files, folder).write()
    ledger = NaivePoster(made).run()
    letters = []
    for entry in (*made.shop, *made.warehouse):
        try:
            event = json.loads(entry.line)
        except ValueError:
            cut = entry.line.encode()
            letters.append(DeadLetterSeen(f"cut{len(letters)}", "inbox-dead-letter", "dead", "unreadable", "", cut))
            continue
        if event.get("location") == UNMAPPED:
            letters.append(letter_for(event))
    terms = Terms(
        items=made.items,
        places={name: code for code, name in PLACES.items()},
        accounts=ACCOUNTS,
        default_places={"shop": "LON1"},
    )
    return written_files(folder), ledger, letters, terms


@pytest.fixture
def case(world):
    return Case(world)
