"""Runs the JavaScript client's own tests, which `node --test` reads from this folder."""

import subprocess
from pathlib import Path

import pytest

from tests.support.javascript import node

HERE = Path(__file__).parent
TESTS = sorted(HERE.glob("*.test.mjs"))


def test_there_are_tests_to_run() -> None:
    assert TESTS


@pytest.mark.parametrize("test", TESTS, ids=lambda path: path.name)
def test_the_javascript_client_keeps_its_promises(test: Path) -> None:
    run = subprocess.run(
        [node(), "--test", "--test-reporter=tap", str(test)], capture_output=True, text=True, timeout=50, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "# tests 0" not in run.stdout, "nothing ran"


@pytest.mark.parametrize("file", sorted((HERE.parents[2] / "sdk_proto/js").glob("*.js")), ids=lambda path: path.name)
def test_each_file_parses_by_itself(file: Path) -> None:
    run = subprocess.run([node(), "--check", str(file)], capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 0, run.stderr
