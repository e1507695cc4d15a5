"""Resource paths below the service root. Pure."""

import functools
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from lab.simulators.sap_b1.state.kinds import KINDS
from lab.simulators.sap_b1.state.messages import Key, RefusedError
from lab.simulators.sap_b1.state.metadata import MASTERS

_PATH: Final = re.compile(r"(?P<set>[A-Za-z_]\w*|\$\w+)(?:\((?P<key>.*)\))?(?:/(?P<tail>[$\w]+))?\Z", re.DOTALL)


@functools.lru_cache(maxsize=8192)
def split_path(path: str) -> tuple[str, Key | None, str | None]:
    """(entity set or function, key, action or `$count`) of a path relative to the service root.

    Raises:
        RefusedError: for a path that the Service Layer does not know.
    """
    bare = path.lstrip("/")
    for root in ("b1s/v1/", "b1s/v2/"):
        bare = bare.removeprefix(root)
    match = _PATH.match(unquote(bare))
    if match is None:
        raise RefusedError(-1000, f"Unrecognized resource path '{bare}'", 404)
    entity, key = match["set"], match["key"]
    return entity, None if key is None else _read_key(entity, key), match["tail"]


def _read_key(entity: str, text: str) -> Key:
    if "=" in text and not text.startswith("'"):
        parts = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
        values = [_read_key(entity, value) for value in parts.values()]
        if len(values) == 1:
            return values[0]
        return (str(values[0]), int(str(values[1])))
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if text.lstrip("-").isdigit():
        return int(text)
    raise RefusedError(-1000, f"Invalid key '{text}' of '{entity}'")


def key_text(entity: str, key: Key) -> str:
    if isinstance(key, tuple):
        second = "FieldID" if entity == "UserFieldsMD" else "KeyIndex"
        return f"TableName='{key[0]}',{second}={key[1]}"
    return str(key) if isinstance(key, int) else "'" + key.replace("'", "''") + "'"


def key_of(entity: str, row: Mapping[str, Any]) -> Key:
    if entity in KINDS or entity == "Drafts":
        return int(row["DocEntry"])
    if entity == "UserFieldsMD":
        return (row["TableName"], row["FieldID"])
    if entity == "UserKeysMD":
        return (row["TableName"], row["KeyIndex"])
    key: Key = row[MASTERS[entity][1] if entity in MASTERS else "Code"]
    return key


def resolve_reference(path: str, made: Mapping[str, str]) -> str:
    bare = path.lstrip("/")
    for root in ("b1s/v1/", "b1s/v2/"):
        bare = bare.removeprefix(root)
    if not bare.startswith("$"):
        return path
    name, slash, rest = bare[1:].partition("/")
    if name not in made:
        raise RefusedError(-1000, f"Content-ID '${name}' is not defined")
    return made[name] + slash + rest
