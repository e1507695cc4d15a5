"""The input of the compose file's profile `demo`, made once and let in once."""

import json

import pytest

from lab.demo.__main__ import main
from lab.demo.vendors import names
from lab.simulators.__main__ import read_app, read_vendor
from lab.simulators.vendors.registry import VENDORS
from streams.config.load import load


@pytest.fixture
def prepare(tmp_path):
    (tmp_path / "secret").write_text("pass\n")
    return [
        "prepare",
        str(tmp_path),
        "--bootstrap-servers=k:1",
        "--service-layer-url=http://s:1/b1s/v2",
        f"--password-file={tmp_path / 'secret'}",
    ]


def test_prepare_and_drip_write_everything_once(tmp_path, prepare):
    main(prepare)
    made = json.loads((tmp_path / "simulator.json").read_text())
    assert made["users"] == {"streams": "pass"}
    text = (tmp_path / "streams.toml").read_text()
    assert "pass" not in text.replace("password", "").replace(str(tmp_path / "secret"), "")
    app = read_app(made)
    assert {kind.value: share for kind, (share, _) in app.server.faults._rates.items()} == {
        "lost_reply_after_commit": 0.03
    }
    main(["drip", str(tmp_path), "--seconds=0"])
    before = sorted(tmp_path.rglob("*.jsonl"))
    main(["drip", str(tmp_path), "--seconds=0"])
    main(prepare)
    assert sorted(tmp_path.rglob("*.jsonl")) == before
    assert len(before) > 60


def test_with_vendors_their_simulators_get_their_files_and_http_is_taken_within_the_stack(tmp_path, prepare):
    urls = [f"--vendor={name}=http://{name}:8080" for name in names.VENDORS]
    main([*prepare, *urls])
    config = load(tmp_path / "streams.toml", {})
    assert {each.kind for each in config.connectors.values()} == {*names.VENDORS, "ims"}
    for name in VENDORS:
        read_vendor(name, json.loads((tmp_path / f"{name}.json").read_text()))


@pytest.mark.parametrize("vendor", ["ebay=http://x", "veeqo"])
def test_a_vendor_that_is_none_is_refused_by_name(prepare, vendor, capsys):
    with pytest.raises(SystemExit):
        main([*prepare, f"--vendor={vendor}"])
    assert "write NAME=URL, a name of magento" in capsys.readouterr().err
