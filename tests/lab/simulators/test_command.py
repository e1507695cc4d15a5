"""The simulator as a process on loopback: its line, a dropped connection, its end."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

CONFIG = {
    "speed": 0,
    "users": {"streams": "secret"},
    "companies": {
        "SBO_DEMO": {
            "master_data": {
                "Warehouses": [{"WarehouseCode": "W"}],
                "Items": [{"ItemCode": "A1"}],
                "stock": [{"item": "A1", "warehouse": "W", "quantity": "2.5"}],
            }
        }
    },
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    file = tmp_path / "simulator.json"
    file.write_text(json.dumps(CONFIG))
    command = [sys.executable, "-m", "lab.simulators", "sap_b1", "--port", "0", "--config", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on ")
        try:
            yield process, f"http://127.0.0.1:{line.split()[-1]}"
        finally:
            process.kill()


def test_it_serves_drops_connections_and_ends_on_sigterm(served: tuple[subprocess.Popen[str], str]) -> None:
    process, url = served
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        login = {"CompanyDB": "SBO_DEMO", "UserName": "streams", "Password": "secret"}
        assert client.post("/b1s/v2/Login", json=login).status_code == 200
        document = {"DocumentLines": [{"ItemCode": "A1", "Quantity": 1, "WarehouseCode": "W"}]}
        for at in ("before_first_byte", "mid_body"):
            script = {"kind": "lost_reply_after_commit", "path": "InventoryGenExits", "at": at}
            assert client.post("/_simulator/faults", json={"scripts": [script]}).status_code == 200
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                client.post("/b1s/v2/InventoryGenExits", json=document)
        ledger = client.get("/_simulator/ledger").json()
        assert ledger["on_hand"] == [{"item": "A1", "warehouse": "W", "quantity": "0.5"}]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
