"""Imported by every Python process that a test with a moved clock starts: it moves its clock too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.clock import moved

sys.path.pop(0)
moved.start()
