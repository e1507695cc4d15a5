"""I12, I2: ranges join, and every identity is a member once."""

from collections import Counter

from schemas.letters import letter_id
from tests.simulation.invariants.view import View


def check_chains(view: View) -> None:
    """I12: ranges join but for records that nobody can read to the end, and every identity is a member once."""
    members: Counter[tuple[str, ...]] = Counter()
    for partition, chain in view.sealed.items():
        end = 0
        for offset, epoch in chain.accepted:
            between = range(end, epoch.start)
            if epoch.start < end or any(
                letter_id("stock-adjusted", partition, each) not in view.letters for each in between
            ):
                view.report(
                    f"I12: the epoch at stock-sealed/{partition}/{offset} starts at {epoch.start}, the one before "
                    f"ends at {end}"
                )
            end = epoch.end
            for batch in epoch.batches:
                members.update(
                    (batch.company, batch.source, event_id, batch.sku, batch.location) for event_id in batch.event_ids
                )
    for member, count in members.items():
        if count > 1:
            view.report(f"I2: {member} is a member of {count} sealed batches")
    for k, lying in view.batch_documents.items():
        standing = [document.k for document in lying if view.is_posted(document.k)]
        if len(standing) > 1:
            view.report(f"I2: {k} is in {len(standing)} documents that stand: {standing}")
