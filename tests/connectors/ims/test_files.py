"""Whatever a file holds: it is read to its end, from any place on alike, and nothing of it is raised."""

import hashlib
import io
import json
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.context import EventContext
from connectors.base.source import RefusedRecord
from connectors.ims.files import open_reader
from connectors.ims.inboxes.inbox import File
from connectors.ims.lines import MAX_LINE_BYTES
from connectors.ims.settings import ImsSettings

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CONTEXT = EventContext("wms", "acme", None, NOW)
COLUMNS = {"event_id": 1, "sku": 2, "location": 3, "delta": 4, "reason": 5, "occurred_at": 6}
PIECES = [
    b"\n",
    b"\r\n",
    b"\n\0",
    b"\0\n",
    b"\n\n",
    b'"',
    b'""',
    b";",
    b";\0",
    b"#",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\0",
    b"a\0",
]
PIECES += [b"\xef\xbb\xbf", b"e1;A;MAIN;1;found;2026-11-20T10:00:00Z", b"x", b"\x00\xd8", b"{", b"}", b"[", b"'", b","]
PIECES += [b'{"id": 1}', b'"id"', b":", b'"a', b"\\", b'{"id": "1", "at": "2026-11-20T10:00:00Z"}']


def ims(**mappings):
    table = {"kind": "ims", "company": "acme", "inbox": "in", **mappings}
    return ImsSettings.model_validate(table, context={"environ": {}})


def reader(name, content, config, position=None):
    file = File(name, io.BytesIO(content), len(content), hashlib.sha256(content).hexdigest(), (), is_known=False)
    return open_reader(file, position, (), config)


def walk(name, content, config):
    """All steps, the positions behind them, and what is read from each of these on."""
    opened, steps, positions = reader(name, content, config), [], []
    for step in opened.steps(CONTEXT):
        steps.append(step)
        positions.append(opened.position)
    assert opened.is_read
    for index, position in enumerate(positions):
        again = reader(name, content, config, position)
        assert ([] if again.is_read else list(again.steps(CONTEXT))) == steps[index + 1 :]
    return steps


contents = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=30).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(
    content=contents,
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "shift_jis"]),
    quote=st.sampled_from(['"', "'", ""]),
    comment=st.sampled_from(["", "#"]),
    skip_lines=st.sampled_from([0, 1, 3]),
    header=st.booleans(),
)
def test_any_bytes_are_rows_that_can_be_gone_on_after(content, encoding, quote, comment, skip_lines, header):
    columns = {field: f"c{number}" for field, number in COLUMNS.items()} if header else COLUMNS
    mapping = {"files": "*", "event": "stock_adjusted", "columns": columns, "delimiter": ";", "encoding": encoding}
    mapping |= {"quote": quote, "comment": comment, "skip_lines": skip_lines, "header": header}
    steps = walk("a.csv", content, ims(csv={"x": mapping}))
    assert sum(step.size for step in steps) >= len(content)
    for step in steps:
        if isinstance(step.item, RefusedRecord):
            assert step.item.value in content
            assert len(step.item.value) <= MAX_LINE_BYTES


@settings(max_examples=200, deadline=None)
@given(content=contents)
def test_any_bytes_are_lines_that_can_be_gone_on_after(content):
    assert sum(step.size for step in walk("a.jsonl", content, ims())) == len(content)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "at", "items", "x"]), inner),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(
    content=contents | values.map(lambda value: json.dumps(value).encode()),
    records=st.sampled_from(
        ["@", "[*]", "items[*]", "items", "*.items[]", "[].{id: id, at: at}", "keys(@)", "x[?id > `1`]"]
    ),
)
def test_any_document_is_records_that_can_be_gone_on_after(content, records):
    fields = {"event_id": "id", "order_id": "length(id)", "occurred_at": "at", "lines": "items"}
    fields |= {"lines.line_id": "id", "lines.quantity": "max(items)"}
    mapping = {"files": "*", "event": "order_cancelled", "records": records, "fields": fields}
    config = ims(json={"x": mapping})
    if content:
        for step in walk("a.json", content, config):
            if isinstance(step.item, RefusedRecord) and step.number and "{" not in records:
                json.loads(step.item.value)
