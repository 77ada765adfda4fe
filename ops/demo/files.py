"""The files of the page and of the JavaScript client, by a fixed list of names: nothing else can be asked for."""

from importlib import resources
from importlib.resources.abc import Traversable

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Files:
    """The files of one folder of package data that a browser may have. Read at each request: they are few and small, and who
    edits one sees it after a reload."""

    def __init__(self, folder: Traversable) -> None:
        self._files = {
            entry.name: (entry, kind)
            for entry in folder.iterdir()
            if entry.is_file() and (kind := _TYPES.get(_suffix(entry.name))) is not None
        }

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Bytes and media type, or None if there is no such file."""
        found = self._files.get(name)
        return None if found is None else (found[0].read_bytes(), found[1])


def page_files() -> Files:
    return Files(resources.files("ops.demo") / "static")


def sdk_files() -> Files:
    return Files(resources.files("sdk_proto") / "js")


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
