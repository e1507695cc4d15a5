from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sap_b1.money import line_net, part, rounded, split

amounts = st.decimals(0, 10**7, places=2)
quantities = st.decimals("0.000001", 10**4, places=6)


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("1.005", "GBP", "1.01"),
        ("-1.005", "GBP", "-1.01"),
        ("1.5", "JPY", "2"),
        ("1.0005", "KWD", "1.001"),
        ("2", "EUR", "2.00"),
    ],
)
def test_amounts_are_rounded_half_up_to_the_minor_unit(amount: str, currency: str, expected: str) -> None:
    assert str(rounded(Decimal(amount), currency)) == expected


def test_a_line_costs_quantity_times_price_less_discount() -> None:
    assert line_net(Decimal("3"), Decimal("3.335"), Decimal("0.01"), "GBP") == Decimal("10.00")
    assert line_net(Decimal("0.333333"), Decimal("3"), None, "GBP") == Decimal("1.00")


@given(total=amounts, pieces=st.lists(quantities, min_size=1, max_size=12))
def test_partial_shares_add_up_to_the_penny_for_any_split(total: Decimal, pieces: list[Decimal]) -> None:
    whole, upto, taken = sum(pieces), Decimal(0), Decimal(0)
    for piece in pieces:
        upto += piece
        share = part(total, upto, whole, taken, "GBP")
        assert share >= 0
        assert share == rounded(share, "GBP")
        taken += share
    assert taken == total


@given(total=amounts, weights=st.lists(st.decimals(0, 1000, places=3), min_size=1, max_size=10))
def test_split_amounts_add_up_and_none_is_negative(total: Decimal, weights: list[Decimal]) -> None:
    shares = split(total, weights, "GBP")
    assert sum(shares) == total
    assert all(share >= 0 for share in shares)
    if any(weights):
        assert all(share == 0 for share, weight in zip(shares, weights, strict=True) if not weight)


def test_a_cancellation_between_two_shares_loses_no_penny() -> None:
    first = part(Decimal("10.00"), Decimal(1), Decimal(3), Decimal(0), "GBP")
    reduced = part(Decimal("10.00"), Decimal(2), Decimal(3), Decimal(0), "GBP")
    assert (first, reduced, part(reduced, Decimal(2), Decimal(2), first, "GBP")) == (
        Decimal("3.33"),
        Decimal("6.67"),
        Decimal("3.34"),
    )
