"""What is missing is installed where that is possible, and named where it is not."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ops.cluster import install, servers
from push_core.errors import ConfigError


class Machine:
    """A Debian on which apt-get is recorded and, unless it `fails`, makes Redis available."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, root: bool = True) -> None:
        self.lacks = {"redis-server": "redis-server"}
        self.commands: list[tuple[str, ...]] = []
        self.fails = False
        (tmp_path / "debian_version").touch()
        monkeypatch.setattr(servers, "missing", lambda: dict(self.lacks))
        monkeypatch.setattr(install, "_DEBIAN", tmp_path / "debian_version")
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, command: tuple[str, ...], **more: Any) -> "subprocess.CompletedProcess[bytes]":
        assert more["env"]["DEBIAN_FRONTEND"] == "noninteractive"
        self.commands.append(command)
        if self.fails:
            return subprocess.CompletedProcess(command, 100, b"E: Unable to locate package\n")
        if "install" in command:
            self.lacks.clear()
        return subprocess.CompletedProcess(command, 0, b"")


def test_root_on_debian_gets_it_from_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, tmp_path)
    said: list[str] = []
    install.ensure_installed(said.append)
    assert said == ["Installing redis-server by apt …"]
    assert [command[1] for command in machine.commands] == ["update", "install"]
    install.ensure_installed(said.append)
    assert len(machine.commands) == 2  # nothing is missing now, so nothing happens


def test_anybody_else_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, tmp_path, root=False)
    with pytest.raises(ConfigError, match=r"redis-server not found: .* apt-get install .*redis-server$"):
        install.ensure_installed(print)
    assert not machine.commands


def test_an_installation_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, tmp_path)
    machine.fails = True
    with pytest.raises(ConfigError, match=r"`apt-get update -qq` failed: E: Unable to locate package; install by hand"):
        install.ensure_installed(print)
