import pickle

import pytest

from connectors.base.errors import Refusal, RejectedError, RetriableError


def test_a_refusal_names_a_reason_of_the_contract():
    with pytest.raises(ValueError, match="because"):
        Refusal("because", "no")
    refusal = Refusal("unknown_item", "no item A", waits_for="item:A")
    assert isinstance(refusal, RejectedError)
    again = pickle.loads(pickle.dumps(refusal))
    assert (again.reason, again.error, again.waits_for) == ("unknown_item", "no item A", "item:A")


def test_a_retriable_error_may_say_when():
    assert RetriableError("busy", retry_after_s=2.5).retry_after_s == 2.5
