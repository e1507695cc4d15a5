"""Bulk operations: JSON lines with their limits, that fail, are cancelled and expire; their files served in ranges."""

import json
import re
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from graphql import FieldNode, OperationDefinitionNode, SelectionSetNode, get_named_type

from lab.simulators.shopify.faults import RefusedQueryError
from lab.simulators.shopify.queries import (
    RowSource,
    RunningQuery,
    arguments_of,
    checked,
    fields_of,
    is_connection,
    node_kind,
    nodes_of,
    project,
)
from lab.simulators.shopify.rows import Row

_KEPT: Final = timedelta(days=7)
_MAX_CONNECTIONS: Final = 5


class Ids(Protocol):
    """Where ids come from."""

    def gid(self, kind: str) -> str:
        """One of its own."""


class BulkOperationStore:
    """A shop's bulk operations and their files.

    Args:
        rows: Where their rows come from.
        ids: Where their ids do.
        domain: The shop's.

    Attributes:
        operations: By id.
        files: By path.
        failures: What becomes of the next ones: `CANCELED`, or an error code.
    """

    def __init__(self, rows: RowSource, ids: Ids, domain: str) -> None:
        self._rows, self._ids, self._domain = rows, ids, domain
        self.operations: dict[str, Row] = {}
        self.files: dict[str, bytes] = {}
        self.failures: deque[str] = deque()

    def start(self, query: str, version: str, now: str, *, grouped: bool | None) -> Row:
        """What `bulkOperationRunQuery` answers."""

        def refuse(message: str, code: str) -> Row:
            error = {"field": ["query"], "message": message, "code": code}
            return {"bulkOperation": None, "userErrors": [error]}

        is_new = version >= "2026-01"
        running = sum(one["status"] == "RUNNING" for one in self.operations.values())
        if running >= (5 if is_new else 1):
            what = "A bulk query operation for this app and shop is already in progress"
            return refuse(what, "LIMIT_REACHED" if is_new else "OPERATION_IN_PROGRESS")
        gid = self._ids.gid("BulkOperation")
        lines: list[Row] = []
        try:
            document, operation = checked(query)
            _check(operation)
            self._flatten(RunningQuery(self._rows, document, {}), "Query", operation.selection_set, {}, None, lines)
        except RefusedQueryError as error:
            return refuse(str(error), "INVALID_QUERY")
        if not (not is_new if grouped is None else grouped):
            # Each kind after its parents, but not beside them.
            lines.sort(key=lambda line: "__parentId" in line)
        path = f"/bulk/{gid.rpartition('/')[2]}.jsonl"
        self.files[path] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        one = {
            "id": gid,
            "status": "RUNNING",
            "errorCode": None,
            "objectCount": str(len(lines)),
            "partialDataUrl": None,
            "url": f"https://{self._domain}{path}" if lines else None,
            "looks": 1,
            "createdAt": now,
            "completedAt": None,
            "path": path,
        }
        self.operations[gid] = one
        return {"bulkOperation": {**one, "status": "CREATED"}, "userErrors": []}

    def look(self, gid: str, now: datetime, stamp: str) -> Row | None:
        """How an operation stands; each look brings it on."""
        one = self.operations.get(gid)
        if one is None:
            return None
        if one["status"] == "RUNNING":
            one["looks"] -= 1
            if one["looks"] < 0:
                one["status"], one["completedAt"] = "COMPLETED", stamp
                if self.failures:
                    self._fail(one, self.failures.popleft())
        elif one["status"] == "COMPLETED" and datetime.fromisoformat(one["createdAt"]) + _KEPT < now:
            one["status"] = "EXPIRED"
        return {**one, "url": one["url"] if one["status"] == "COMPLETED" else None}

    def serve(self, path: str, wanted: str, now: datetime) -> tuple[int, dict[str, str], bytes]:
        """A result as its storage has it: behind an address that is signed for a week, whole or from a byte on."""
        found = self.files.get(path)
        one = next(
            (each for each in self.operations.values() if path in (each["path"], f"{each['path']}.partial")), None
        )
        if found is None or one is None or datetime.fromisoformat(one["createdAt"]) + _KEPT < now:
            return 403, {}, b"<Error><Code>ExpiredToken</Code></Error>"
        start = re.fullmatch(r"bytes=(\d+)-", wanted)
        if start is None:
            return 200, {}, found
        at = int(start[1])
        if at >= len(found):
            return 416, {"content-range": f"bytes */{len(found)}"}, b""
        return 206, {"content-range": f"bytes {at}-{len(found) - 1}/{len(found)}"}, found[at:]

    def _fail(self, one: Row, error: str) -> None:
        """`CANCELED`, or FAILED with an error code and what was found by then: the last order of it lacks lines."""
        if error == "CANCELED":
            one["status"] = error
            return
        one["status"], one["errorCode"] = "FAILED", error
        found = self.files[one["path"]]
        self.files[f"{one['path']}.partial"] = b"".join(found.splitlines(keepends=True)[: found.count(b"\n") // 2])
        one["partialDataUrl"] = f"https://{self._domain}{one['path']}.partial"

    def _flatten(
        self,
        query: RunningQuery,
        kind: str,
        selections: SelectionSetNode | None,
        row: Row,
        parent: str | None,
        out: list[Row],
    ) -> None:
        """A query's rows, each after the one it belongs to."""
        for field, its_type in fields_of(kind, selections):
            if not is_connection(its_type):
                continue
            inner, nodes = node_kind(its_type), nodes_of(field)
            for one in query.find(kind, field.name.value, row, arguments_of(field, {})):
                line = project(inner, nodes, one)
                out.append({**line, "__parentId": parent} if parent is not None else line)
                self._flatten(query, inner, nodes, one, str(one["id"]), out)


def _check(operation: OperationDefinitionNode) -> None:
    """What a bulk operation may ask for (shopify.dev, "Perform bulk operations", read 2026-11-21).

    Raises:
        RefusedQueryError: It may not.
    """
    selections = operation.selection_set.selections
    if operation.operation.value != "query" or len(selections) != 1 or not isinstance(selections[0], FieldNode):
        raise RefusedQueryError("Bulk queries must have exactly one top-level field.", None)
    found = _connections("Query", operation.selection_set, 0, in_list=False)
    if not any(is_connection(kind) for _, kind in fields_of("Query", operation.selection_set)):
        raise RefusedQueryError("Bulk queries must contain at least one connection.", None)
    if len(found) > _MAX_CONNECTIONS:
        raise RefusedQueryError(f"Bulk queries cannot contain more than {_MAX_CONNECTIONS} connections.", None)
    if max(depth for depth, _ in found) > 2:
        raise RefusedQueryError("Bulk queries cannot contain connections with a nesting depth greater than 2.", None)
    for _, nodes in found:
        own = [each for each in (nodes.selections if nodes else ()) if isinstance(each, FieldNode)]
        if not any(each.name.value == "id" for each in own) and any(nodes_of(each) for each in own):
            raise RefusedQueryError("The parent field must have id selected for nested connections.", None)


def _connections(
    kind: str, selections: SelectionSetNode | None, depth: int, *, in_list: bool
) -> Sequence[tuple[int, SelectionSetNode | None]]:
    """Every connection, by how deep it lies, with what is asked of its nodes.

    Raises:
        RefusedQueryError: One stands inside a list.
    """
    found: list[tuple[int, SelectionSetNode | None]] = []
    for field, its_type in fields_of(kind, selections):
        if is_connection(its_type):
            if in_list:
                raise RefusedQueryError(
                    "Queries that contain a connection field within a list field are not supported.", None
                )
            nodes = nodes_of(field)
            found += [(depth, nodes), *_connections(node_kind(its_type), nodes, depth + 1, in_list=False)]
        else:
            is_list = in_list or str(its_type).startswith("[")
            found += _connections(get_named_type(its_type).name, field.selection_set, depth, in_list=is_list)
    return found
