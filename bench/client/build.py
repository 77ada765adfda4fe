"""Compiles the load client once for each state of its sources and keeps the program in the user's cache folder."""

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")


class NoCompiler(RuntimeError):
    """The load client can't be had here; the text says what to do."""


def compiler() -> list[str]:
    """`CC` of the environment, or `cc`. Raises NoCompiler."""
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(command[0]) is None:
        raise NoCompiler(
            f"the load client is written in C and there is no compiler ({command[0]}): install one (Debian: apt install gcc libc6-dev) or "
            "name it in CC; where a benchmark has --client, `--client python` does without"
        )
    return command


def program(folder: Path | None = None) -> Path:
    """The load client, compiled if need be. `folder` is where it is kept. Raises NoCompiler, also when compiling failed."""
    command = compiler()
    sources = sorted(SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(repr((command, FLAGS)).encode())
    for source in sources:
        digest.update(source.read_bytes())
    folder = folder or _cache()
    path = folder / f"load-client-{digest.hexdigest()[:16]}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    # Several processes may come here at once: each compiles for itself and the last one's program stays.
    descriptor, made = tempfile.mkstemp(prefix=path.name, dir=folder)
    os.close(descriptor)
    try:
        done = subprocess.run(
            [*command, *FLAGS, "-o", made, *(str(source) for source in sources if source.suffix == ".c")],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise NoCompiler(f"the load client can't be compiled here ({shlex.join(command)}):\n{done.stderr.strip()}")
        Path(made).chmod(0o755)
        Path(made).replace(path)
    finally:
        Path(made).unlink(missing_ok=True)
    return path


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache") / "taco"
