"""What we wrote ourselves is known again by our marks, and by nothing else."""

import pytest

from connectors.base.loop_guard import LoopGuard


@pytest.mark.parametrize(
    ("marks", "seen", "is_own"),
    [
        (("b1",), {"tags": ["vip", "b1"]}, True),
        (("b1",), {"tags": ["vip", "b1x"]}, False),
        (("b1:",), {"reference": "b1:77"}, True),
        (("b1:",), {"reference": "xb1:77"}, False),
        (("b1:",), {"reference": 7}, False),
        (("b1", "x"), {"texts": ["sent by x today"]}, True),
        (("b1",), {"texts": ["nothing"]}, False),
        (("b1",), {}, False),
        # An empty mark would be in every text.
        (("",), {"tags": [""], "reference": "", "texts": ["anything"]}, False),
        ((), {"texts": ["anything"]}, False),
    ],
)
def test_marks(marks, seen, is_own):
    assert LoopGuard.of(*marks).is_own(**seen) is is_own
