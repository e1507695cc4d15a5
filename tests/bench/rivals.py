"""Bytewax and Quix Streams, in a virtual environment of their own: they are measured, never depended on."""

import subprocess
import sys
from pathlib import Path

from tests.bench.world import ROOT

PINS = ("bytewax==0.21.1", "quixstreams==3.28.1", "fastavro==1.13.1")
FOLDER = ROOT / ".venv-rivals"
SCRIPT = Path(__file__).with_name("rivals_process.py")


def install() -> Path | str:
    """Their interpreter, installed if it is missing; or why they cannot be had here."""
    python, marker = FOLDER / "bin" / "python", FOLDER / "pins"
    if marker.is_file() and marker.read_text(encoding="utf-8").split() == list(PINS):
        return python
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(FOLDER)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS],
    )
    for command in commands:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            return (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
    marker.write_text("\n".join(PINS), encoding="utf-8")
    return python
