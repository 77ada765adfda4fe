"""Finding a Python for the suite's client."""

from pathlib import Path

import pytest

from tests.autobahn.suite import find_python


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHON2", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))


def test_without_one_there_is_none(tmp_path: Path) -> None:
    assert find_python() is None
    script(tmp_path / "bin" / "python2.7", "exit 127")  # a shim with nothing behind it
    script(tmp_path / "bin" / "python2", "echo PyPy 2.7")
    script(tmp_path / "pyenv" / "versions" / "2.7.9" / "bin" / "python2.7", "echo CPython 2.6")
    assert find_python() is None


def test_the_one_that_is_named_goes_before_that_of_the_path_and_that_before_pyenvs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyenvs = script(tmp_path / "pyenv" / "versions" / "2.7.18" / "bin" / "python2.7", "echo CPython 2.7")
    assert find_python() == str(pyenvs)
    on_path = script(tmp_path / "bin" / "python2.7", "echo CPython 2.7")
    assert find_python() == str(on_path)
    named = script(tmp_path / "named", "echo CPython 2.7")
    monkeypatch.setenv("PYTHON2", str(named))
    assert find_python() == str(named)
    monkeypatch.setenv("PYTHON2", str(tmp_path / "not there"))
    assert find_python() == str(on_path)
