"""DATA/demo.json: where `taco up` writes how to reach what it started, and where other commands look it up.

The only place that holds the demo app's key readable, so it is created for its owner alone (0600) and replaced as a whole.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from push_core.errors import ConfigError

NAME = "demo.json"


@dataclass(frozen=True, slots=True)
class DemoFile:
    """`page` carries the page's token in its fragment."""

    api: str
    gateway: str
    app: str
    key: str
    device_secret: str
    page: str

    def __repr__(self) -> str:
        return f"DemoFile(api={self.api!r}, gateway={self.gateway!r}, app={self.app!r})"

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def read(data: Path) -> DemoFile | None:
    """None if there is no such file. Raises ConfigError for one that can't be read or is not of this form."""
    path = data / NAME
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from None
    names = [field.name for field in fields(DemoFile)]
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in names):
        raise ConfigError(
            f"{path}: must be an object with {', '.join(names)}, each of them text; remove it and a new one is made"
        )
    return DemoFile(**{name: value[name] for name in names})


def write(data: Path, demo: DemoFile) -> None:
    write_private(data / NAME, json.dumps(demo.to_dict(), indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace the file as a whole, readable by its owner only from its first byte on. Raises ConfigError."""
    new = path.with_name(path.name + ".new")
    try:
        new.unlink(missing_ok=True)  # left by a crash, perhaps with other rights
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None
