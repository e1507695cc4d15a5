"""The environment over the file: `STREAMS__A__B` overrides `a.b`."""

import tomllib
from collections.abc import Mapping
from typing import Any

from streams.config.problems import ConfigProblem, path_text

ENV_PREFIX = "STREAMS__"


def override(
    data: Mapping[str, Any], environ: Mapping[str, str], problems: list[ConfigProblem]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Lay the environment over what was read; also says which path came from which variable."""
    merged = _copy(data)
    sources: dict[str, str] = {}
    for variable in sorted(environ):
        if not variable.upper().startswith(ENV_PREFIX):
            continue
        at, path = merged, []
        parts = variable[len(ENV_PREFIX) :].split("__")
        for depth, part in enumerate(parts):
            same = [key for key in at if _folded(key) == _folded(part)]
            if len(same) > 1 or not part:
                remedy = (
                    "give keys names that differ in more than case and - or _" if part else f"write {ENV_PREFIX}A__B"
                )
                problems.append(
                    ConfigProblem(variable, "could mean more than one key" if part else "is not a path", remedy)
                )
                break
            path.append(same[0] if same else part.lower())
            if depth == len(parts) - 1:
                at[path[-1]] = _env_value(environ[variable])
                sources[path_text(path)] = variable
                break
            inner = at.setdefault(path[-1], {})
            if not isinstance(inner, dict):
                problems.append(
                    ConfigProblem(
                        variable, f"goes through {path_text(path)}, which is not a table", "fix the variable's name"
                    )
                )
                break
            at = inner
    return merged, sources


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _folded(key: str) -> str:
    return key.lower().replace("-", "_")


def _env_value(text: str) -> Any:
    """Lists, tables and quoted texts as in TOML; anything else as it is: the settings make numbers of it."""
    if text[:1] in ("[", "{", '"'):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text
