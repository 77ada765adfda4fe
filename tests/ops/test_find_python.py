"""`make` takes a Python that runs and fits, or says in a sentence what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "ops" / "find_python.sh"


def find(wish: str, venv: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = os.environ | ({"PATH": path} if path is not None else {})
    return subprocess.run(
        ["/bin/bash", str(SCRIPT), wish, str(venv)], capture_output=True, text=True, env=env, check=False
    )


def fake(folder: Path, name: str, version: str) -> None:
    """A Python that reports a version and can't make environments."""
    script = folder / name
    script.write_text(f'#!/bin/bash\ncase "$*" in *version_info*) echo {version};; *) exit 1;; esac\n')
    script.chmod(0o755)


def test_a_wish_is_taken(tmp_path: Path) -> None:
    done = find(sys.executable, tmp_path / "venv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "venv" / "bin" / "python").exists()


def test_too_old_is_said_with_its_version(tmp_path: Path) -> None:
    fake(tmp_path, "oldpython", "3.9")
    done = find(str(tmp_path / "oldpython"), tmp_path / "venv")
    assert done.returncode == 2
    assert "is Python 3.9; Taco needs 3.11, 3.12 or 3.13" in done.stderr


def test_nothing_that_fits_is_one_sentence(tmp_path: Path) -> None:
    fake(tmp_path, "python3", "3.14")
    done = find("", tmp_path / "venv", path=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("make: no Python 3.11, 3.12 or 3.13 found")
    assert len(done.stderr.splitlines()) == 1


def test_a_shim_with_nothing_behind_it_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/bash\nexit 127\n")
    (tmp_path / "python3").chmod(0o755)
    (tmp_path / "python3.12").symlink_to(sys.executable)
    done = find("", tmp_path / "venv", path=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr


def test_a_python_without_venv_says_what_to_install(tmp_path: Path) -> None:
    fake(tmp_path, "python3", "3.12")
    done = find("", tmp_path / "venv", path=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 2
    assert "apt install python3.12-venv" in done.stderr
