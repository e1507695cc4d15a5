from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.money import line_net, minor_units, part, rounded, smallest_unit, split

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
    whole, reached, taken = sum(pieces), Decimal(0), Decimal(0)
    for piece in pieces:
        reached += piece
        share = part(total, reached, whole, taken, "GBP")
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


# ISO 4217 list one (2026-01-01). CLDR, which most libraries follow, has IQD 0 and HUF 2; ISO's figures are what counts.
@pytest.mark.parametrize(
    ("currency", "digits"),
    [
        ("EUR", 2),
        ("HUF", 2),
        ("TWD", 2),
        ("JPY", 0),
        ("ISK", 0),
        ("CLP", 0),
        ("XAF", 0),
        ("UYI", 0),
        ("BHD", 3),
        ("IQD", 3),
        ("KWD", 3),
        ("TND", 3),
        ("CLF", 4),
        ("UYW", 4),
        ("XAU", 2),
        ("XXX", 2),
        ("ZZZ", 2),
        ("", 2),
        ("eur", 2),
    ],
)
def test_minor_units_are_those_of_iso_4217(currency: str, digits: int) -> None:
    assert minor_units(currency) == digits
    assert smallest_unit(currency) == Decimal(10) ** -digits
