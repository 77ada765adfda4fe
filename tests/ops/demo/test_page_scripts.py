"""Runs the tests of the page's own scripts with node."""

import subprocess
from pathlib import Path

import pytest

from tests.support.javascript import node

SCRIPTS = sorted((Path(__file__).parents[3] / "ops/demo/static").glob("*.js"))


def test_the_pure_parts_of_the_page_keep_their_promises() -> None:
    test = Path(__file__).with_name("page.test.mjs")
    run = subprocess.run([node(), "--test", str(test)], capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_each_script_parses_and_takes_text_as_text(script: Path) -> None:
    run = subprocess.run([node(), "--check", str(script)], capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 0, run.stderr
    source = script.read_text()
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert dangerous not in source
