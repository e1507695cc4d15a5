"""Whatever is asked for: nothing half done, stock is the sum of its movements."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import Request
from tests.lab.simulators.sap_b1.company import MASTER, D, based, claim, clock, document, line, made, order, post, state

ITEMS = st.sampled_from(["A1", "A2", "BAT", "SER", "FEE"])
LINES = st.lists(
    st.one_of(
        st.builds(line, ITEMS, st.integers(1, 8), UnitPrice=st.integers(0, 9)),
        st.builds(lambda n: line("BAT", n, BatchNumbers=[{"BatchNumber": "B-1", "Quantity": n}]), st.integers(1, 4)),
        st.builds(lambda s: line("SER", 1, SerialNumbers=[{"InternalSerialNumber": s}]), st.sampled_from(["S1", "S2"])),
        st.builds(
            lambda kind, entry, number, n: based(kind, entry, number, Quantity=n),
            st.sampled_from([13, 15, 17]),
            st.integers(1, 4),
            st.integers(0, 1),
            st.integers(1, 6),
        ),
    ),
    min_size=1,
    max_size=3,
)
REQUESTS = st.one_of(
    st.builds(
        lambda entity, lines, key: Request("POST", entity, {**order(*lines), "U_STREAMS_KEY": key, "NumAtCard": key}),
        st.sampled_from(["Orders", "DeliveryNotes", "Invoices", "CreditNotes"]),
        LINES,
        st.sampled_from(["K1", "K2"]),
    ),
    st.builds(
        lambda entity, lines: Request("POST", entity, {"DocumentLines": lines}),
        st.sampled_from(["InventoryGenEntries", "InventoryGenExits"]),
        LINES,
    ),
    st.builds(lambda code: Request("POST", "U_STREAMS_CLAIM", claim(code)), st.sampled_from(["K1", "K2", "K3"])),
    st.builds(
        lambda entity, entry, action: Request("POST", f"{entity}({entry})/{action}"),
        st.sampled_from(["Orders", "DeliveryNotes", "Invoices", "InventoryGenEntries"]),
        st.integers(1, 3),
        st.sampled_from(["Cancel", "Close"]),
    ),
    st.builds(
        lambda entry, change: Request(
            "PATCH", f"Orders({entry})", {"NumAtCard": "P", "DocumentLines": [{"LineNum": 0, **change}]}
        ),
        st.integers(1, 3),
        st.one_of(st.just({"LineStatus": "bost_Close"}), st.builds(lambda n: {"Quantity": n}, st.integers(1, 6))),
    ),
)


def begun() -> Company:
    """A company in which base references of random requests often lead somewhere."""
    company = Company(clock=clock, with_claims=True, master_data=MASTER)
    for _ in range(3):
        entry = made(post(company, "Orders", order(line(quantity=6), line("A2", 6))))["DocEntry"]
        delivery = made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=4), based(17, entry, 1))))
        made(post(company, "Invoices", document(based(15, delivery["DocEntry"], Quantity=2))))
    return company


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(REQUESTS, min_size=1, max_size=4), min_size=1, max_size=8))
def test_a_failing_change_set_leaves_everything_exactly_as_it_was(sets: list[list[Request]]) -> None:
    company = begun()
    for requests in sets:
        before = state(company)
        answers = company.apply(requests)
        if answers[0].status >= 400:
            assert (1, before) == (len(answers), state(company))
        else:
            assert len(requests) == len(answers)
        broken = [*requests, Request("POST", "Orders", order(line("NONE")))]
        before = state(company)
        assert len(company.apply(broken)) == 1
        assert before == state(company)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(REQUESTS, min_size=1, max_size=3), min_size=1, max_size=10))
def test_stock_is_always_the_sum_of_its_movements_and_commitments_of_open_order_lines(
    sets: list[list[Request]],
) -> None:
    company = begun()
    for requests in sets:
        company.apply(requests)
    ledger = company.ledger()
    sums: dict[tuple[str, str], Decimal] = {}
    for move in ledger["movements"]:
        slot = (move["item"], move["warehouse"])
        sums[slot] = sums.get(slot, D(0)) + D(move["quantity"])
    assert sums == {(row["item"], row["warehouse"]): D(row["quantity"]) for row in ledger["on_hand"]}
    committed: dict[tuple[str, str], Decimal] = {}
    for one in ledger["documents"]:
        for row in one["DocumentLines"] if one["object"] == 17 else ():
            if row["LineStatus"] == "bost_Open" and row["ItemCode"] != "FEE":
                slot = (row["ItemCode"], row["WarehouseCode"])
                committed[slot] = committed.get(slot, D(0)) + D(row["RemainingOpenQuantity"])
    assert committed == {(row["item"], row["warehouse"]): D(row["quantity"]) for row in ledger["committed"]}
