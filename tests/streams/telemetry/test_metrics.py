from decimal import Decimal
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from connectors.base.metrics import ConnectorMetrics
from connectors.sap_b1 import error_codes
from schemas.letters import REASONS
from streams.telemetry.catalogue import CATALOGUE, DEAD_LETTER_KINDS, OUTCOMES, PREFIX, SAP_CODES
from streams.telemetry.families import Family, Units
from streams.telemetry.metrics import Metrics
from streams.telemetry.vitals import Vitals
from tests.streams.fakes import config


def series(metrics: Metrics) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(metrics.expose().decode())
        for sample in family.samples
    }


def progress() -> Family[Gauge]:
    return Family(Gauge("progress", "x", ["stage"], registry=None), [("poster", "windows")])


def described(exposition: str) -> list[str]:
    """Name, type, number of series, sum of the values and closed label sets of each of our families."""
    lines = []
    for family in text_string_to_metric_families(exposition):
        if not family.name.startswith(PREFIX):
            continue
        labels: dict[str, set[str]] = {}
        for sample in family.samples:
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add("..." if name in ("version", "python") else value)
        sets = " ".join(f"{name}={','.join(sorted(values))}" for name, values in sorted(labels.items()))
        total = sum(sample.value for sample in family.samples)
        lines.append(f"{family.name} {family.type} series={len(family.samples)} sum={total:g} {sets}".rstrip())
    return sorted(lines)


def test_what_is_exposed_is_what_it_has_always_been() -> None:
    """Dashboards and alerts stand on it: a line may come, none may change.

    Written by the version before the catalogue.
    """
    recorded = (Path(__file__).parent / "exposition.txt").read_text().splitlines()
    assert described(Metrics(config()).expose().decode()) == recorded


def test_every_row_of_the_catalogue_is_an_attribute_of_its_type() -> None:
    kinds: dict[str, Any] = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
    expected = {
        row.attribute: Units if row.type == "units" else Family[kinds[row.type]] if row.labels else kinds[row.type]
        for row in CATALOGUE
    }
    assert get_type_hints(Metrics) == expected
    assert len({row.name for row in CATALOGUE}) == len(CATALOGUE) == len(expected)


def test_every_series_is_there_at_zero_from_the_first_scrape() -> None:
    metrics = Metrics(config())
    shown = series(metrics)
    for kind in DEAD_LETTER_KINDS:
        for reason in REASONS:
            assert shown[f"b1streams_dead_letters_total{sorted({'kind': kind, 'reason': reason}.items())}"] == 0
    for outcome in OUTCOMES:
        assert shown[f"b1streams_postings_total{[('kind', 'order_placed'), ('outcome', outcome)]}"] == 0
    assert shown["b1streams_consumer_lag_records[('partition', '1'), ('topic', 'erp-stock')]"] == 0
    counters = {name: value for name, value in shown.items() if "_total" in name and name.startswith(PREFIX)}
    assert set(counters.values()) == {0}


def test_a_worker_with_twelve_partitions_stays_within_1500_series() -> None:
    assert len(series(Metrics(config(partitions=12, company_partitions=16)))) <= 1500


def test_ours_carry_the_prefix_and_counters_end_in_total() -> None:
    families = list(text_string_to_metric_families(Metrics(config()).expose().decode()))
    assert all(f.name.startswith((PREFIX, "process_", "python_")) for f in families)
    assert all(s.name.endswith("_total") for f in families if f.type == "counter" for s in f.samples)
    assert all(f.documentation for f in families)
    assert not [s.name for f in families for s in f.samples if s.name.endswith("_created")]


def test_a_label_value_outside_its_closed_set_is_refused() -> None:
    metrics = Metrics(config())
    with pytest.raises(ValueError, match="1001"):
        metrics.postings("order_placed", "1001")
    with pytest.raises(ValueError, match="catalogue"):
        metrics.events_consumed.labels("order-placed")


def test_a_foreign_refusal_number_is_counted_as_other() -> None:
    metrics = Metrics(config())
    metrics.erp_errors("change_set", "rejected", "-987654").inc()
    metrics.erp_errors("change_set", "rejected", "-123456").inc()
    labels = [("class", "rejected"), ("operation", "change_set"), ("sap_code", "other")]
    assert series(metrics)[f"b1streams_erp_errors_total{labels}"] == 2


def test_children_are_held_and_counted() -> None:
    metrics = Metrics(config())
    assert metrics.postings("order_placed", "created") is metrics.postings.labels("order_placed", "created")
    metrics.consumer_lag("order-placed", 1).set(7)
    metrics.erp_call("change_set", "ok", 0.2)
    metrics.erp_call("change_set", "a new label", 0.2)
    shown = series(metrics)
    assert shown["b1streams_consumer_lag_records[('partition', '1'), ('topic', 'order-placed')]"] == 7
    assert shown["b1streams_erp_requests_total[('code', 'ok'), ('operation', 'change_set')]"] == 1
    assert shown["b1streams_erp_requests_total[('code', 'other'), ('operation', 'change_set')]"] == 1
    assert shown["b1streams_erp_request_duration_seconds_count[('operation', 'change_set')]"] == 2


def test_units_are_added_exactly() -> None:
    metrics = Metrics(config())
    for _ in range(10):
        metrics.units_sealed.add("in", Decimal("0.1"))
    assert metrics.units_sealed.total("in") == Decimal("1.0")
    assert series(metrics)["b1streams_stock_units_sealed_total[('direction', 'in')]"] == 1.0
    for direction, quantity in (("sideways", Decimal(1)), ("out", Decimal(-1))):
        with pytest.raises(ValueError, match="must be"):
            metrics.units_posted.add(direction, quantity)


def test_two_in_one_process_share_nothing() -> None:
    one, other = Metrics(config()), Metrics(config())
    one.rebalances.inc()
    assert series(one)["b1streams_rebalances_total[]"] == 1
    assert series(other)["b1streams_rebalances_total[]"] == 0


def test_connectors_count_into_it() -> None:
    metrics = Metrics(config())
    sources: ConnectorMetrics = metrics.sources
    sources.published("shop", "order_placed", 3)
    sources.no_op("shop", "stock_adjusted", 1)
    sources.refused("shop", "unreadable", 2)
    sources.looked("shop", idle=True)
    sources.failed("shop", "RetriableError")
    shown = series(metrics)
    assert (
        shown["b1streams_source_events_total[('kind', 'order_placed'), ('result', 'published'), ('source', 'shop')]"]
        == 3
    )
    assert shown["b1streams_source_looks_total[('result', 'idle'), ('source', 'shop')]"] == 1
    assert shown["b1streams_source_last_look_timestamp_seconds[('source', 'shop')]"] > 0


def test_the_codes_of_sap_that_are_counted_are_those_that_the_table_lets_through() -> None:
    labels = error_codes._LABELS
    assert set(SAP_CODES) == {*labels, "none", "other"}


def test_a_stage_that_does_not_move_in_its_time_is_stalled() -> None:
    now = 0.0
    vitals = Vitals(progress(), lambda: now)
    vitals.beat("poster", within_s=10)
    vitals.beat("windows", within_s=100)
    now = 50
    assert vitals.stalled() == ["poster"]
    vitals.end("poster")
    assert vitals.stalled() == []


def test_a_process_is_ready_when_nothing_it_expects_is_missing() -> None:
    vitals = Vitals(progress())
    assert vitals.waiting()
    vitals.expect("worker")
    assert vitals.waiting() == {"worker": "is starting"}
    vitals.ready("worker")
    assert vitals.waiting() == {}
    vitals.expect("worker", "B1 is away")
    assert vitals.waiting() == {"worker": "B1 is away"}
