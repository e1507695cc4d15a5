"""Numbers and lines as files have them, and shares drawn from a seed."""

import hashlib
import json
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal

_PENNY = Decimal("0.01")


def share_of(seed: int, *parts: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256("/".join((str(seed), *parts)).encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


def round_to_pence(amount: Decimal) -> Decimal:
    return amount.quantize(_PENNY, ROUND_HALF_UP)


def decimal_text(number: Decimal) -> str:
    return format(number, "f")


def json_line(event: Mapping[str, object]) -> str:
    kept = {name: value for name, value in event.items() if value is not None}
    if isinstance(lines := kept.get("lines"), list):
        kept["lines"] = [{name: value for name, value in line.items() if value is not None} for line in lines]
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def quoted(text: str) -> str:
    return json.dumps(text)
