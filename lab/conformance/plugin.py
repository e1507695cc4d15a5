"""The plugin that pytest finds: shows the assertions of the suite as it shows those of a test file."""

import pytest

pytest.register_assert_rewrite("lab.conformance.suite")
