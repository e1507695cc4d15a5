from typing import Any

import pytest
from hypothesis import given

from schemas.generated import constructor_of
from schemas.records import Skipped, StockBatch
from tests import strategies


@given(strategies.stock_batches())
def test_what_is_made_is_what_the_class_makes(batch: StockBatch) -> None:
    fields: dict[str, Any] = {name: getattr(batch, name) for name in StockBatch.__slots__}

    assert constructor_of(StockBatch)(**fields) == batch


def test_defaults_are_the_classes_own() -> None:
    assert constructor_of(Skipped)(offset=1, why="repeat") == Skipped(offset=1, why="repeat")


def test_a_field_without_a_default_is_asked_for() -> None:
    with pytest.raises(TypeError, match="why"):
        constructor_of(Skipped)(offset=1)  # type: ignore[call-arg]
