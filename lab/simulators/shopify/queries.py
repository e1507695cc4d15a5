"""Queries at work: checked against the schema, their cost reckoned, answered from the shop's rows."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLOutputType,
    GraphQLResolveInfo,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    execute_sync,
    get_named_type,
    is_composite_type,
    parse,
    validate,
    value_from_ast_untyped,
)

from lab.simulators.shopify.faults import RefusedQueryError
from lab.simulators.shopify.rows import Row
from lab.simulators.shopify.schema import SALES, schema

MAX_PAGE: Final = 250
SCHEMA: Final = schema()
#: Shopify's codes of what is wrong with a query, by how graphql-core words it.
_CODES: Final = (
    ("Cannot query field", "undefinedField"),
    ("Unknown type", "undefinedType"),
    ("Unknown argument", "argumentNotAccepted"),
    ("must have a selection", "selectionMismatch"),
    ("is not defined", "undefinedVariable"),
    ("is never used", "variableNotUsed"),
    ("got invalid value", "INVALID_VARIABLE"),
    ("was not provided", "INVALID_VARIABLE"),
)


class RowSource(Protocol):
    """Where a query's rows come from."""

    def root(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """A field of Query or Mutation."""

    def levels_of(self, location: Row, query: str | None) -> list[Row]:
        """The counts of a location."""

    def belonging(self, name: str, row: Row, arguments: Mapping[str, Any]) -> Any:
        """What is made of an object only when it is asked for: a level, fulfilment orders."""

    def cursor(self, key: object) -> str:
        """A page's end, opaque."""

    def key(self, cursor: str) -> Any:
        """What a cursor stands for."""


@lru_cache(maxsize=256)
def checked(text: str) -> tuple[DocumentNode, OperationDefinitionNode]:
    """A document of one operation that the schema allows.

    Raises:
        RefusedQueryError: It is none.
    """
    try:
        document = parse(text)
    except GraphQLError as error:
        raise RefusedQueryError(error.message, None) from error
    if errors := validate(SCHEMA, document):
        raise _error_of(errors[0])
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    if len(operations) != 1 or len(document.definitions) > 1:
        raise RefusedQueryError("one operation, and no named fragments", "BAD_REQUEST")
    return document, operations[0]


def _error_of(error: GraphQLError) -> RefusedQueryError:
    code = next((code for words, code in _CODES if words in error.message), "argumentLiteralsIncompatible")
    return RefusedQueryError(error.message, code)


def fields_of(
    kind: str, selections: SelectionSetNode | None, *, apart: bool = False
) -> Iterator[tuple[FieldNode, GraphQLOutputType]]:
    """The fields of a selection with their types, those of inline fragments too.

    Args:
        kind: The type that it is of.
        selections: None: a leaf has none.
        apart: Leave fragments out.
    """
    for each in selections.selections if selections else ():
        if isinstance(each, InlineFragmentNode):
            if not apart:
                yield from fields_of(_condition(each), each.selection_set)
        elif isinstance(each, FieldNode):
            fields = SCHEMA.type_map[kind].fields  # type: ignore[attr-defined]  # the query is valid: it has fields
            yield each, fields[each.name.value].type


def _condition(fragment: InlineFragmentNode) -> str:
    return fragment.type_condition.name.value if fragment.type_condition else "Node"


def arguments_of(field: FieldNode, variables: Mapping[str, Any]) -> dict[str, Any]:
    """A field's arguments, its variables put in."""
    return {each.name.value: value_from_ast_untyped(each.value, dict(variables)) for each in field.arguments or ()}


def is_connection(kind: GraphQLOutputType) -> bool:
    """Whether it is read by pages."""
    return get_named_type(kind).name.endswith("Connection")


def nodes_of(field: FieldNode) -> SelectionSetNode | None:
    """What is asked of a connection's nodes."""
    for each in field.selection_set.selections if field.selection_set else ():
        if isinstance(each, FieldNode) and each.name.value == "nodes":
            return each.selection_set
        if isinstance(each, FieldNode) and each.name.value == "edges":
            return nodes_of(each)
        if isinstance(each, FieldNode) and each.name.value == "node":
            return each.selection_set
    return None


def node_kind(kind: GraphQLOutputType) -> str:
    """The type of a connection's nodes."""
    return get_named_type(kind).name.removesuffix("Connection")


class RunningQuery:
    """One query.

    Attributes:
        actual: What it has cost so far: a point an object.
    """

    def __init__(self, rows: RowSource, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._rows, self._document, self._variables = rows, document, variables
        self.actual = 0

    def requested(self, kind: str, selections: SelectionSetNode | None) -> int:
        """The most that it can cost: an object is a point, rows are as many as are asked for."""
        if kind == "Node":
            fragments = (
                [each for each in selections.selections if isinstance(each, InlineFragmentNode)] if selections else []
            )
            return max((self.requested(_condition(each), each.selection_set) for each in fragments), default=0)
        cost = 0
        for field, its_type in fields_of(kind, selections):
            inner = get_named_type(its_type)
            if not is_composite_type(inner):
                continue
            arguments = arguments_of(field, self._variables)
            if is_connection(its_type):
                cost += self._first(arguments) * (1 + self.requested(node_kind(its_type), nodes_of(field)))
                continue
            times = 1
            if "first" in arguments:
                times = self._first(arguments)
            elif "ids" in arguments:
                times = len(arguments["ids"])
                if times > MAX_PAGE:
                    raise RefusedQueryError(f"ids must be at most {MAX_PAGE}", "BAD_REQUEST")
            cost += times * (1 + self.requested(inner.name, field.selection_set))
        return cost

    def _first(self, arguments: Mapping[str, Any]) -> int:
        first = arguments.get("first")
        if not isinstance(first, int) or not 1 <= first <= MAX_PAGE:
            raise RefusedQueryError(f"you must provide one of first or last, from 1 to {MAX_PAGE}", "BAD_REQUEST")
        return first

    def run(self) -> Row:
        """The answer.

        Raises:
            RefusedQueryError: A variable is not what it was declared as, or a field cannot be found.
        """
        result = execute_sync(
            SCHEMA,
            self._document,
            root_value={},
            variable_values=dict(self._variables),
            field_resolver=self._resolve,
            type_resolver=lambda row, *_: _type_of(row),
        )
        for error in result.errors or ():
            if isinstance(error.original_error, RefusedQueryError):
                raise error.original_error
            if error.original_error is not None:
                raise error.original_error
            raise _error_of(error)
        return dict(result.data or {})

    def _resolve(self, row: Row, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        parent, name = info.parent_type.name, info.field_name
        if parent.endswith(("Connection", "Edge")):
            return row[name]
        if parent == "Mutation":
            # Directives reach no resolver as arguments.
            arguments["_key"] = _idempotency_key(info.field_nodes[0], self._variables)
        value = self.find(parent, name, row, arguments)
        named = get_named_type(info.return_type)
        if value is None or not is_composite_type(named):
            return value
        if is_connection(named):
            return self._page(value, arguments)
        kind = info.return_type.of_type if isinstance(info.return_type, GraphQLNonNull) else info.return_type
        if isinstance(kind, GraphQLList):
            value = value[: arguments["first"]] if arguments.get("first") else value
            self.actual += len(value)
        else:
            self.actual += 1
        return value

    def find(self, parent: str, name: str, row: Row, arguments: Mapping[str, Any]) -> Any:
        """A field of an object."""
        if parent in ("Query", "Mutation"):
            return self._rows.root(name, arguments)
        if (parent, name) == ("Location", "inventoryLevels"):
            return self._rows.levels_of(row, arguments.get("query"))
        if (parent, name) == ("InventoryLevel", "quantities"):
            known = {"on_hand": row["on_hand"], "available": row["on_hand"] - row.get("committed", 0)}
            return [{"name": one, "quantity": known[one], "updatedAt": row["updatedAt"]} for one in arguments["names"]]
        if (parent, name) in (("InventoryItem", "inventoryLevel"), ("Order", "fulfillmentOrders")):
            return self._rows.belonging(name, row, arguments)
        return row[name]

    def _page(self, rows: Sequence[Row], arguments: Mapping[str, Any]) -> Row:
        first, after = arguments["first"], arguments.get("after")
        if after is not None:
            last = self._rows.key(after)
            rows = [row for row in rows if _key_of(row) > last]
        page = rows[:first]
        self.actual += len(page)
        end = self._rows.cursor(_key_of(page[-1])) if page else None
        return {
            "nodes": page,
            "edges": [{"node": row, "cursor": self._rows.cursor(_key_of(row))} for row in page],
            "pageInfo": {"hasNextPage": len(rows) > first, "endCursor": end},
        }


def _idempotency_key(field: FieldNode, variables: Mapping[str, Any]) -> Any:
    """The key of `@idempotent`; None: there is none."""
    for directive in field.directives or ():
        for argument in directive.arguments or ():
            if (directive.name.value, argument.name.value) == ("idempotent", "key"):
                return value_from_ast_untyped(argument.value, dict(variables))
    return None


def project(kind: str, selections: SelectionSetNode | None, row: Any) -> Any:
    """What is asked of a row, without what would be read by pages."""
    if isinstance(row, list):
        return [project(kind, selections, each) for each in row]
    if row is None or selections is None:
        return row
    return {
        (field.alias or field.name).value: project(
            get_named_type(its_type).name, field.selection_set, row[field.name.value]
        )
        for field, its_type in fields_of(kind, selections)
        if not is_connection(its_type)
    }


def _type_of(row: Row) -> str:
    if "lineType" in row:
        return SALES[row["lineType"]]
    return str(row["id"]).removeprefix("gid://shopify/").partition("/")[0]


def _key_of(row: Row) -> Any:
    return row.get("_key") or [row.get("id")]
