"""Autobahn|Testsuite, as it can still be installed: its client runs on CPython 2.7 only, in an environment of its own in a folder that git ignores."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

VERSION = "25.10.1"
_VIRTUALENV = "virtualenv==20.15.1"  # the last for 2.7
# In this order: what is built needs what came before it, and the suite itself asks for more than its client uses.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        *("setuptools==44.0.0", "incremental==16.10.1", "zope.interface==4.6.0", "six==1.16.0", "txaio==2.1.0"),
        *("cryptography==3.3.2", "pyOpenSSL==19.1.0"),
    ),
    ("--no-build-isolation", "Twisted==19.10.0"),
    (
        *("jinja2==2.11.3", "markupsafe==1.1.1", "Werkzeug==1.0.1", "klein==17.10.0", "service_identity==18.1.0"),
        *("unittest2==1.1.0", "autobahn==0.10.9"),
    ),
    ("--no-deps", f"autobahntestsuite=={VERSION}"),
)
_PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet", "install")
_ASK = "import pip, platform, sys; print(platform.python_implementation(), '%d.%d' % sys.version_info[:2])"


class CannotInstall(Exception):
    """With the last lines of what pip said."""


def find_python() -> str | None:
    """A CPython 2.7 with pip: `PYTHON2`, one on the PATH, or one of pyenv's. A candidate is run rather than looked up: a name on the PATH may be a shim with nothing
    behind it."""
    for candidate in _candidates():
        try:
            said = subprocess.run([candidate, "-c", _ASK], capture_output=True, text=True, timeout=20, check=False)
        except OSError:
            continue
        if "CPython" in said.stdout and "2.7" in said.stdout:
            return candidate
    return None


def _candidates() -> Iterator[str]:
    if named := os.environ.get("PYTHON2"):
        yield named
    for name in ("python2.7", "python2"):
        if found := shutil.which(name):
            yield found
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(root.glob("versions/2.7*/bin/python2.7"), reverse=True))


def install(python: str, folder: Path) -> Path:
    """The suite's program in `folder`, installed if it isn't there. Raises CannotInstall."""
    home = folder / VERSION
    complete = home / "complete"
    programs = home / "env" / "bin"
    if not complete.exists():
        shutil.rmtree(home, ignore_errors=True)
        _run(python, *_PIP, "--target", str(home / "virtualenv"), _VIRTUALENV)
        _run(python, "-m", "virtualenv", "--quiet", str(home / "env"), path=home / "virtualenv")
        for step in _STEPS:
            _run(str(programs / "python"), *_PIP, *step)
        complete.touch()
    return programs / "wstest"


def _run(*command: str, path: Path | None = None) -> None:
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    env.pop("PYTHONPATH", None)
    if path is not None:
        env["PYTHONPATH"] = str(path)
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise CannotInstall("\n".join((*done.stdout.splitlines()[-5:], *done.stderr.splitlines()[-15:])))
