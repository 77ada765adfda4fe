"""What `taco up` prints can be pasted as it stands."""

import sys
from pathlib import Path

import pytest

from ops.commands.up import program


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `taco` in the .venv of the folder where we are."""
    path = tmp_path / ".venv" / "bin" / "taco"
    path.parent.mkdir(parents=True)
    path.write_text("")
    path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), "up"])
    return path


def test_a_command_that_is_not_on_the_path_is_named_by_its_place(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == ".venv/bin/taco"


def test_from_elsewhere_its_whole_path_is_shown(
    installed: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert program() == str(installed)


def test_a_command_on_the_path_is_named_alone(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(installed.parent))
    assert program() == "taco"
