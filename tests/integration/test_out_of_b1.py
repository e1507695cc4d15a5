"""What B1 says reaches a warehouse and a shop once, through a kill: real processes, Kafka and a simulated B1."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_dlq_commands import Person
from tests.integration.test_readme_commands import ORDER, STREAMS, environ, prepared, running, wait_for

pytestmark = pytest.mark.kafka
__all__ = ["environ"]

ADDRESS = {"name": "A Customer", "street": "1 High Street", "city": "London", "postcode": "N1 1AA", "country": "GB"}
B1 = """
[connectors.b1]
kind = "sap_b1"
company = "acme"
poll_interval_s = 1
sweep_interval_s = 5
"""


@pytest.fixture
def folder(kafka: str, environ: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    with prepared(kafka, environ, tmp_path, ()):
        yield tmp_path


def put(folder: Path, connector: str, name: str, events: list[Any]) -> None:
    path = folder / "in" / connector / f"{name}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    path.rename(path.with_suffix(""))


def receives(text: str, connector: str, **out: str) -> str:
    table = "\n".join(f"{name} = {value}" for name, value in out.items())
    return text + f'\n[connectors.{connector}.out]\noutbox = "out/{connector}"\n{table}\n'


def told(folder: Path, connector: str, event_type: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (folder / "out" / connector).glob(f"{event_type}-*.jsonl")]


def shipped(order_id: int) -> dict[str, object]:
    return {
        "type": "dispatch_confirmed",
        "shipment_id": f"S{order_id}",
        "order_id": str(order_id),
        "location": "MAIN",
        "occurred_at": ORDER["occurred_at"],
        "tracking_numbers": [f"T{order_id}"],
        "lines": [{"line_id": "1", "sku": "22197", "quantity": "2"}],
    }


def test_orders_and_levels_go_out_and_tracking_comes_back_once_through_a_kill(
    folder: Path, environ: dict[str, str]
) -> None:
    person, config = Person(folder, environ), folder / "streams.toml"
    text = receives(config.read_text(encoding="utf-8") + B1, "shop", stock="true", tracking="true", interval_s="1")
    config.write_text(receives(text, "warehouse", orders="true", items="true"), encoding="utf-8")
    person.runs("topics", "apply")
    person.runs("doctor", "--install")
    orders = [{**ORDER, "order_id": str(n), "ship_to": ADDRESS} for n in range(1001, 1011)]
    orders.append({**ORDER, "order_id": "2000"})  # without an address
    put(folder, "shop", "orders.jsonl", orders)
    with running([*STREAMS, "worker"], folder, environ) as (worker, worker_log):
        with running([*STREAMS, "connect"], folder, environ) as (connect, log):
            wait_for("orders at the warehouse", lambda: told(folder, "warehouse", "order_released"), log, 120)
            connect.kill()
            connect.wait()
        with running([*STREAMS, "connect"], folder, environ) as (connect, log):
            wait_for("all orders", lambda: len(told(folder, "warehouse", "order_released")) >= 10, log, 120)
            put(folder, "warehouse", "shipped.jsonl", list(map(shipped, (1001, 1002))))
            wait_for("both shipments", lambda: len(told(folder, "shop", "delivery_posted")) == 2, worker_log, 120)
            wait_for("everything seen through", lambda: person.runs("status")["idle"], log, 120)
            flows = person.runs("status")["flows"]
            order, item = person.runs("order", "1001"), person.runs("item", "22197")
            (letter,) = person.letters("--state", "parked")
            shown = person.runs("dlq", "show", letter["id"])
            connect.terminate()
            assert connect.wait(40) == 0, log.read_text(encoding="utf-8")[-3000:]
        worker.terminate()
        assert worker.wait(40) == 0, worker_log.read_text(encoding="utf-8")[-3000:]

    assert sorted(each["order_id"] for each in told(folder, "warehouse", "order_released")) == [
        str(n) for n in range(1001, 1011)
    ]
    assert {each["shipment_id"]: each["tracking_numbers"] for each in told(folder, "shop", "delivery_posted")} == {
        "S1001": ["T1001"],
        "S1002": ["T1002"],
    }
    assert not told(folder, "warehouse", "order_withdrawn")
    assert [(each["connector"], each["what"], each["state"]) for each in order["told"]] == [
        ("warehouse", "order_released", "sent"),
        ("shop", "delivery_posted", "sent"),
    ]
    (channel,) = [each for each in item["items"][0]["channels"] if each["connector"] == "shop"]
    assert sum(int(each["own_open"]) for each in channel["terms"]) == 18, "nine orders of two are open"
    assert (letter["reason"], letter["order_id"]) == ("order_incomplete", "2000")
    assert "ship_to.postcode" in letter["error"]
    assert shown["payload"]["order_id"] == "2000"
    assert flows["order_released"] == {
        "received": 11,
        "posted": 10,
        "no_op": 0,
        "parked": 1,
        "dead": 0,
        "in_flight": 0,
        "oldest_unposted_s": 0.0,
    }
    assert flows["item_changed"]["posted"] == len({each["sku"] for each in told(folder, "warehouse", "item_changed")})
    levels = [each for each in told(folder, "shop", "stock_level") if each["sku"] == "22197"]
    before, after = min(levels, key=_as_of), max(levels, key=_as_of)
    assert int(before["sellable"]) - int(after["sellable"]) == 4, (
        "what was shipped; what is ordered the shop holds back itself"
    )


def _as_of(level: dict[str, Any]) -> str:
    return str(level["as_of"])


def test_a_connector_that_receives_and_a_b1_that_nobody_reads_is_a_fault(folder: Path, environ: dict[str, str]) -> None:
    config = folder / "streams.toml"
    config.write_text(receives(config.read_text(encoding="utf-8"), "warehouse", orders="true"), encoding="utf-8")
    problems = Person(folder, environ).runs("check", code=2)
    assert "nobody reads the B1 of acme" in str(problems)
