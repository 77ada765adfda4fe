"""Node, for tests of JavaScript."""

import os
import shutil

import pytest


def node() -> str:
    """Its path. Without it a test is skipped on a laptop and fails in CI."""
    found = shutil.which("node")
    if found is None and "CI" not in os.environ:
        pytest.skip("node is not installed")
    assert found is not None, "CI needs node"
    return found
