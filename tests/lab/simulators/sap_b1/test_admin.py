"""The surface for tests, demo and checker."""

from tests.lab.simulators.sap_b1.http import World, claimed, issue, order, send_batch


async def test_the_ledger_is_json_with_decimal_text(world: World) -> None:
    await send_batch(world, claimed("K"))
    await world.post("InventoryGenExits", issue())
    answer = await world.client.get("https://b1.example/_simulator/ledger")
    assert answer.headers["content-encoding"] == "gzip"
    ledger = answer.json()
    first = ledger["documents"][0]
    assert (first["entity"], first["object"], first["U_STREAMS_KEY"], first["DocTotal"]) == ("Orders", 17, "K", "11.99")
    assert ledger["movements"][-1]["quantity"] == "-1"
    assert {"item": "A1", "warehouse": "LON1", "quantity": "99"} in ledger["on_hand"]
    assert ledger["claims"][0]["Code"] == "K"
    assert ledger["counters"]["change_sets"] == 2
    assert ledger["counters"]["document_sets"] == 2


async def test_a_preview_and_a_refusal_make_no_document_and_are_counted_apart(world: World) -> None:
    await world.post("OrdersService_Preview", {"Document": order()})
    await world.post("Orders", order())
    await world.post("Orders", {"CardCode": "nobody"})
    counters = (await world.client.get("https://b1.example/_simulator/ledger")).json()["counters"]
    assert [counters[name] for name in ("change_sets", "document_sets", "previews", "refused")] == [3, 1, 1, 1]


async def test_the_documents_of_a_large_ledger_come_in_pages_in_the_order_of_their_commits(world: World) -> None:
    await world.post("Orders", order())
    await world.post("InventoryGenExits", issue())
    await world.post("Orders", order())
    url = "https://b1.example/_simulator"
    whole = (await world.client.get(f"{url}/ledger")).json()
    bare = (await world.client.get(f"{url}/ledger?documents=0")).json()
    assert (bare["documents"], bare["on_hand"]) == ([], whole["on_hand"])
    first = (await world.client.get(f"{url}/documents?limit=2")).json()
    rest = (await world.client.get(f"{url}/documents?after={first[-1]['sequence']}&limit=2")).json()
    assert [one["entity"] for one in (*first, *rest)] == ["Orders", "InventoryGenExits", "Orders"]
    assert sorted((*first, *rest), key=str) == sorted(whole["documents"], key=str)


async def test_people_change_master_data_and_documents(world: World) -> None:
    await world.admin("master-data", {"Items": [{"ItemCode": "A1", "Valid": "tNO"}]})
    assert "inactive" in (await world.post("Orders", order())).text
    await world.admin(
        "master-data", {"Items": [{"ItemCode": "A1", "Valid": "tYES"}], "rules": {"inactive_code": -5002}}
    )
    await world.post("Orders", order())
    await world.admin("backup", {})
    assert await world.admin("requests", {"requests": [{"method": "POST", "path": "Orders(1)/Cancel"}]}) == [
        {"status": 204, "body": None}
    ]
    await world.admin("restore", {})
    assert (await world.client.get("Orders(1)")).json()["Cancelled"] == "tNO"
    counters = (await world.client.get("https://b1.example/_simulator/counters")).json()
    assert counters["companies"]["SBO_DEMO"]["sessions_open"] == 1
    for name, body in (("faults", {"rates": {"nonsense": 1}}), ("nothing", {}), ("master-data", {"Nothing": []})):
        answer = await world.client.post(f"https://b1.example/_simulator/{name}", json=body)
        assert answer.status_code in (400, 404)
