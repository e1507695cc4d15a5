"""Dashboards: every panel explains itself, and asks only for metrics that we have."""

import json
import re
from pathlib import Path

import pytest

from streams.config.load import load
from streams.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "grafana/dashboards").glob("*.json"))
DASHBOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FILES}
PANELS = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]
OF_GRAFANA = {"$__rate_interval": "1m", "$__range": "30m", "$__interval": "15s"}

CONFIG = """
[kafka]
local = true
replication_factor = 1
[companies.acme]
service_layer_url = "http://127.0.0.1:1/b1s/v2"
company_db = "X"
username = "u"
password = "env:P"
timezone = "Europe/London"
currency = "GBP"
[companies.acme.customers]
policy = "account"
card_code = "C"
[companies.acme.warehouses.LON1]
owner = "shop"
location = "MAIN"
[connectors.shop]
kind = "ims"
company = "acme"
inbox = "in"
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """Name of a series -> the labels it has."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "in").mkdir()
    (folder / "streams.toml").write_text(CONFIG, encoding="utf-8")
    text = Metrics(load(folder / "streams.toml", {"P": "x"})).expose().decode()
    series = {}
    for line in text.splitlines():
        if found := re.match(r"(\w+)(?:\{(.*)\})? ", line):
            labels = re.findall(r'(\w+)="', found[2] or "")
            series.setdefault(found[1], set()).update(labels)
    # Families without a child yet show their type only.
    for name in re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE):
        series.setdefault(name, set())
    return series


def expressions(panel):
    return [target["expr"] for target in panel["targets"]]


def test_there_is_a_dashboard_and_no_two_share_an_id():
    assert DASHBOARDS
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_says_what_it_is_and_cannot_be_edited_by_accident(name):
    dashboard = DASHBOARDS[name]
    assert dashboard["title"]
    assert dashboard["description"]
    assert dashboard["editable"] is False
    assert dashboard["refresh"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_two_panels_lie_on_each_other_and_none_is_off_the_grid(name):
    cells = set()
    for panel in DASHBOARDS[name]["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not mine & cells, panel["title"]
        cells |= mine


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_has_title_description_unit_legend_and_data_source(panel):
    assert panel["title"]
    assert len(panel["description"]) > 20
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["legendFormat"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(refs) == len(set(refs))


@pytest.mark.parametrize("panel", PANELS)
def test_an_expression_is_balanced_and_has_no_unknown_variable(panel):
    for expression in expressions(panel):
        bare = re.sub(r'"[^"]*"', '""', expression)
        waiting = []
        for sign in bare:
            if sign in "([{":
                waiting.append({"(": ")", "[": "]", "{": "}"}[sign])
            elif sign in ")]}":
                assert waiting, expression
                assert waiting.pop() == sign, expression
        assert not waiting, expression
        assert set(re.findall(r"\$\w+", bare)) <= set(OF_GRAFANA), expression
        # A rate needs a range, and a range a function that takes one.
        assert len(re.findall(r"\b(?:rate|increase)\(", bare)) == bare.count("["), expression


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_catalogued_metrics_and_their_labels_only(panel, catalogue):
    for expression in expressions(panel):
        bare = re.sub(r'"[^"]*"', '""', expression)
        names = re.findall(r"\bb1streams_\w+", bare)
        assert names, expression
        for name in names:
            assert name in catalogue, name
        labels = set().union(*(catalogue[name] for name in names))
        asked = {label.strip() for group in re.findall(r"by \(([^)]*)\)", bare) for label in group.split(",")}
        asked |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", bare))
        assert asked <= labels, expression
        shown = set(re.findall(r"\{\{(\w+)\}\}", " ".join(target["legendFormat"] for target in panel["targets"])))
        assert shown <= asked, panel["title"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_counter_is_never_shown_bare(panel):
    for expression in expressions(panel):
        for found in re.finditer(r"\bb1streams_\w+_(?:total|bucket)\b", expression):
            assert re.search(r"\b(?:rate|increase)\($", expression[: found.start()]), expression
