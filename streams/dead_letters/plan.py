"""A frozen selection of dead letters and what a replay of each would do."""

import hashlib
import json
from collections.abc import Iterable


def hash_of(ids: Iterable[str]) -> str:
    """Of the ids of a selection, whatever their order: 16 characters."""
    return hashlib.sha256(json.dumps(sorted(ids)).encode()).hexdigest()[:16]
