"""I12: the chain of sealed epochs, by its rule alone: ranges join."""

import hashlib
from collections.abc import Iterator, Sequence

from tests.chaos.evidence import SEALED, Record, decode
from tests.chaos.invariants.view import AcceptedEpoch, View


def _by_partition(records: Sequence[Record]) -> Iterator[tuple[int, list[Record]]]:
    for partition in sorted({record.partition for record in records}):
        yield partition, [record for record in records if record.partition == partition]


def _accepted(view: View, records: Sequence[Record]) -> list[AcceptedEpoch]:
    accepted: list[AcceptedEpoch] = []
    digest, end = bytes(16), 0
    for record in records:
        body = decode("sealed_epoch", record.value)
        if body["number"] != len(accepted) or body["prev_digest"] != digest:
            continue
        if accepted and body["start"] != end:
            view.report("chain", f"stock-sealed/{record.partition}/{record.offset}", f"start {end}", body["start"])
        digest, end = hashlib.sha256(record.value).digest()[:16], body["end"]
        accepted.append(AcceptedEpoch(record.offset, record.partition, body))
    return accepted


def check_chains(view: View) -> None:
    view.epochs = {
        partition: _accepted(view, records) for partition, records in _by_partition(view.evidence.records[SEALED])
    }
