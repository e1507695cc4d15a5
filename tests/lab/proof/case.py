"""A right ledger that a test may spoil."""

import copy
import json
from decimal import Decimal

from lab.proof.dead_letters import DeadLetterSeen
from lab.proof.run import prove


def letter_for(event, **more):
    named = {
        "id": f"id-{event.get('event_id') or event.get('order_id')}",
        "topic": f"{event['type'].replace('_', '-')}-dead-letter",
        "state": "dead",
        "reason": "unmapped_location",
        "event_type": event["type"],
        "value": b"avro",
        "event_ids": (event.get("event_id") or event["order_id"],),
        "sku": event.get("sku"),
    }
    return DeadLetterSeen(**(named | more))


class Case:
    """A copy of the world that a test may spoil."""

    def __init__(self, world):
        inputs, ledger, letters, self.terms = world
        self.inputs = {name: list(paths) for name, paths in inputs.items()}
        self.ledger = copy.deepcopy(ledger)
        self.letters = list(letters)

    def prove(self, **more):
        return prove(self.inputs, self.ledger, self.letters, self.terms, **more)

    def as_vendor_events(self):
        """The same as a vendor's ledger would have it: every event once, nothing unreadable, no files."""
        events = {}
        for name, paths in self.inputs.items():
            lines = dict.fromkeys(line for path in paths for line in path.read_text(encoding="utf-8").splitlines())
            events[name] = [json.loads(line) for line in lines if line.endswith("}")]
        self.inputs = {}
        self.letters = [letter for letter in self.letters if letter.reason != "unreadable"]
        return events

    def kinds(self):
        return {one.kind for one in self.prove().discrepancies}

    def documents(self, entity):
        return [document for document in self.ledger["documents"] if document["entity"] == entity]

    def remove(self, document):
        self.ledger["documents"].remove(document)
        number = document["object"]
        self.ledger["movements"] = [
            move
            for move in self.ledger["movements"]
            if (move["object"], move["entry"]) != (number, document["DocEntry"])
        ]
        self.ledger["claims"] = [claim for claim in self.ledger["claims"] if claim["Code"] != document["U_STREAMS_KEY"]]
        self.stock_as_moved()

    def double(self, document, *, claimed=True):
        twin = copy.deepcopy(document)
        twin["DocEntry"] += 100_000
        twin["DocNum"] += 100_000
        if claimed:
            twin["U_STREAMS_KEY"] += "-again"
            self.ledger["claims"].append({"Code": twin["U_STREAMS_KEY"], "U_STATE": "posted"})
        self.ledger["documents"].append(twin)
        self.ledger["movements"] += [
            move | {"entry": twin["DocEntry"]}
            for move in self.ledger["movements"]
            if (move["object"], move["entry"]) == (document["object"], document["DocEntry"])
        ]
        self.stock_as_moved()

    def stock_as_moved(self):
        """What is on hand follows the journal, so that only the thing under test is wrong."""
        levels = {}
        for move in self.ledger["movements"]:
            slot = (move["item"], move["warehouse"])
            levels[slot] = levels.get(slot, Decimal(0)) + Decimal(move["quantity"])
        for row in self.ledger["on_hand"]:
            row["quantity"] = str(levels.get((row["item"], row["warehouse"]), Decimal(0)))

    def write(self, tmp_path, *lines):
        path = tmp_path / "999999.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self.inputs["shop"].append(path)
