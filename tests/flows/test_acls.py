"""docs/kafka-acls.md says what worker and connect need: they use no more."""

import pytest

from tests.flows.world import World, dispatch, order, stock
from tests.streams.cli.test_acls import table, watched


async def test_worker_and_connect_use_no_more_than_the_table_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, used = table(), watched(monkeypatch)
    await world.says("shop", order("1"), order("2", lines=[]), b"rubbish")
    await world.says("warehouse", dispatch("D1", "1", {"line_id": "1", "sku": "A", "quantity": "2"}), stock("S1"))
    await world.stop_worker()
    await world.start_worker()
    await world.says("warehouse", stock("S1"), stock("S2", "NOBODY"))
    assert len(used["send_many"]) > 8
    assert used["send_many"] <= rows["worker"][1] | rows["connect"][1]
    topics = {name for names in used.values() for name in names if name}
    assert topics <= {topic for who in ("worker", "connect") for part in (0, 1) for topic in rows[who][part]}
