"""I2: a stock event is a member of one batch, and a batch lies in one document that stands."""

import hashlib
from collections import Counter

from tests.chaos.evidence import DOCUMENTS, STOCK, decode
from tests.chaos.invariants.view import View


def check_batches(view: View) -> None:
    """Every batch of accepted epochs: where it was queued, and in which document that stands it lies (I2)."""
    for record in view.evidence.records[STOCK]:
        posting = decode("posting", record.value)
        view.queued[posting["partition"], posting["offset"], posting["index"]] = posting["k"]
        view.stock_ks[posting["k"]].append(record)
    digest, number = bytes(16), 0
    for record in view.evidence.records[DOCUMENTS]:
        if record.partition != 0:
            continue
        body = decode("stock_document", record.value)
        if body["number"] != number or body["prev_digest"] != digest:
            continue
        digest, number = hashlib.sha256(record.value).digest()[:16], number + 1
        if view.documents.get(body["k"]):
            view.expected_ks.add(body["k"])
            for k in body["batch_ks"]:
                view.standing[k].append(body["k"])
    for k, documents in view.standing.items():
        if len(documents) > 1:
            view.report("double", f"stock batch {k}", "1 document", ", ".join(documents))
    identities: dict[tuple[str, str, str], int] = Counter()
    for partition, epochs in view.epochs.items():
        for epoch in epochs:
            for index, batch in enumerate(epoch.body["batches"]):
                k = view.queued.get((partition, epoch.offset, index))
                for event_id, offset in zip(batch["event_ids"], batch["offsets"], strict=True):
                    if (partition, offset) in view.members:
                        view.report("double", f"stock-adjusted/{partition}/{offset}", "1 batch", "2")
                    view.members[partition, offset] = (batch, k)
                    identities[event_id, batch["sku"], batch["location"]] += 1
            for skip in epoch.body["skipped"]:
                view.skipped[partition, skip["offset"]] = skip
    for identity, times in identities.items():
        if times > 1:
            view.report("double", "stock event " + "/".join(identity), "a member of 1 batch", times)
