"""`streams connect new` writes a connector that passes the contract suite as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.connect.scaffold import ScaffoldError, write_connector

ROOT = Path(__file__).parents[3]


def test_what_it_writes_passes_the_contract_suite_and_can_be_configured(tmp_path):
    written = write_connector("acme_wms", tmp_path)
    assert [path.relative_to(tmp_path / "acme_wms").as_posix() for path in written] == [
        "__init__.py",
        "settings.py",
        "source.py",
        "README.md",
        "test_conformance.py",
    ]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    # Without the settings of our own suite: as in a project of its own.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "--import-mode=importlib",
        "--rootdir",
        str(tmp_path),
        "-c",
        os.devnull,
        str(written[-1]),
    ]
    ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "11 passed" in ran.stdout


def test_in_a_clone_it_is_a_connector_like_the_others(tmp_path):
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors/registry.py").touch()
    written = write_connector("acme", tmp_path)
    assert written[1] == tmp_path / "connectors/acme/settings.py"
    assert written[-1] == tmp_path / "tests/connectors/acme/test_conformance.py"
    assert "from connectors.acme.settings import AcmeSettings" in written[2].read_text()
    assert not [path for path in written if "newvendor" in path.read_text().casefold() or "PACKAGE" in path.read_text()]


@pytest.mark.parametrize("name", ["", "Acme", "1st", "a-b", "../up", "a.b", "x" * 40])
def test_a_name_that_cannot_be_a_package_writes_nothing(tmp_path, name):
    with pytest.raises(ScaffoldError, match="small letters"):
        write_connector(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path):
    write_connector("acme", tmp_path)
    with pytest.raises(ScaffoldError, match="there already"):
        write_connector("acme", tmp_path)
