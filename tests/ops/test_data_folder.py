"""A folder belongs to one process at a time, and its cluster key outlives each of them."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ops.data_folder import DataFolder
from push_core.errors import ConfigError


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    with DataFolder(tmp_path), pytest.raises(ConfigError, match=rf"in use by another .* \(process {os.getpid()}\)"):
        DataFolder(tmp_path).__enter__()


def test_it_can_be_held_again_once_let_go(tmp_path: Path) -> None:
    with DataFolder(tmp_path):
        pass
    with DataFolder(tmp_path):
        pass


def test_a_holder_that_was_killed_holds_it_no_more(tmp_path: Path) -> None:
    script = f"from pathlib import Path; from ops.data_folder import DataFolder; f = DataFolder(Path({str(tmp_path)!r})).__enter__(); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        with pytest.raises(ConfigError, match="in use"):
            DataFolder(tmp_path).__enter__()
        holder.kill()
        holder.wait()
    with DataFolder(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/data: cannot be used as the data folder"):
        DataFolder(tmp_path / "file" / "data").__enter__()


def test_the_cluster_key_is_random_private_and_kept(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "a") as folder:
        key = folder.cluster_key()
        assert folder.cluster_key() == key
        assert stat.S_IMODE((tmp_path / "a" / "cluster.key").stat().st_mode) == 0o600
    with DataFolder(tmp_path / "b") as other:
        assert other.cluster_key() != key


def test_an_empty_cluster_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster.key").write_text("\n")
    with DataFolder(tmp_path) as folder, pytest.raises(ConfigError, match="is empty"):
        folder.cluster_key()
