"""An installed wheel is all of Taco: what is imported, and the files that are read at run time."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.test_architecture import OURS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*OURS, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*build, "-q", "-w", str(folder / "out"), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return next((folder / "out").glob("taco-*.whl"))


def shipped() -> set[str]:
    """Every file of the packages that somebody wrote."""
    return {
        str(path.relative_to(ROOT))
        for package in OURS
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".sh"
    }


def test_it_holds_every_file_of_the_packages_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == shipped()


def test_what_was_installed_imports_and_finds_its_files(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = f"""
import importlib, sys
sys.path.insert(0, {str(tmp_path / "site")!r})
for name in {sorted(OURS)!r}:
    assert importlib.import_module(name).__file__.startswith({str(tmp_path)!r}), name
import ops.local
from ops.demo.files import page_files, sdk_files
assert page_files().read("index.html") and sdk_files().read("index.js")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_store_is_made_by_what_was_installed(wheel: Path, tmp_path: Path) -> None:
    """The migrations are files that are read at run time."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from ops.cli import main; main()",
    ]
    done = subprocess.run(
        [*command, "app", "create", "shop", "--devices", f"sqlite:///{tmp_path}/devices.sqlite"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
