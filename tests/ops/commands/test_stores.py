"""Where commands find the stores that nobody names."""

from pathlib import Path

import pytest

from ops.commands.output import CommandFailed
from ops.commands.stores import devices_dsn, settings_file


def test_a_cluster_s_settings_are_used_unless_a_file_is_named(tmp_path: Path) -> None:
    assert settings_file(tmp_path, None) is None
    (tmp_path / "cluster.toml").write_text('[stores]\ndevices = "mysql://taco@db/taco"\n')
    assert settings_file(tmp_path, None) == tmp_path / "cluster.toml"
    assert settings_file(tmp_path, Path("mine.toml")) == Path("mine.toml")
    assert devices_dsn(tmp_path) == "mysql://taco@db/taco"


def test_without_a_cluster_the_store_is_a_file_in_the_folder(tmp_path: Path) -> None:
    assert devices_dsn(tmp_path) == f"sqlite:///{tmp_path / 'devices.sqlite'}"
    (tmp_path / "cluster.toml").write_text("[stores]\n")
    assert devices_dsn(tmp_path) == f"sqlite:///{tmp_path / 'devices.sqlite'}"


def test_a_folder_that_is_not_there_and_a_file_that_makes_no_sense_are_said(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="there is no folder"):
        devices_dsn(tmp_path / "not there")
    (tmp_path / "cluster.toml").write_text("[stores")
    with pytest.raises(CommandFailed, match="not TOML"):
        devices_dsn(tmp_path)
