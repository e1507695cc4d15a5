import importlib
import pickle
import pkgutil
import re

import pytest

from connectors.base import errors
from connectors.base.errors import (
    ConnectorError,
    FatalError,
    LogRefusedError,
    LogUnavailableError,
    Refusal,
    RejectedError,
    RetriableError,
)


def test_a_refusal_names_a_reason_of_the_contract():
    with pytest.raises(ValueError, match="because"):
        Refusal("because", "no")
    refusal = Refusal("unknown_item", "no item A", waits_for="item:A")
    assert isinstance(refusal, RejectedError)
    again = pickle.loads(pickle.dumps(refusal))
    assert (again.reason, again.error, again.waits_for) == ("unknown_item", "no item A", "item:A")


def test_a_retriable_error_may_say_when():
    assert RetriableError("busy", retry_after_s=2.5).retry_after_s == 2.5


def _tree(kind: type[BaseException]) -> set[str]:
    return {kind.__name__}.union(*map(_tree, kind.__subclasses__()))


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = set(re.findall(r"\b[A-Z]\w+Error\b|\bRefusal\b", errors.__doc__ or ""))
    own = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
    assert own <= drawn
    for package in ("connectors", "streams"):
        for each in pkgutil.walk_packages([package], f"{package}."):
            if not each.name.endswith("__main__"):
                importlib.import_module(each.name)
    assert drawn <= _tree(ConnectorError)


def test_an_error_of_the_log_says_by_its_class_whether_to_try_again():
    assert issubclass(LogUnavailableError, RetriableError)
    assert not issubclass(LogUnavailableError, FatalError)
    assert issubclass(LogRefusedError, FatalError)
    assert not issubclass(LogRefusedError, RetriableError)
    assert LogUnavailableError("away").retry_after_s is None
