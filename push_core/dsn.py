"""DSNs: `scheme://place?option=value`, read strictly and never shown with their password."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from push_core.errors import ConfigError

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]/\s]+))(?::(?P<port>[0-9]{1,5}))?")
_PASSWORD = re.compile(r"(://[^/@:]*:).*(@)")  # up to the last @, since one that was not encoded may hold anything


@dataclass(frozen=True, slots=True)
class Dsn:
    """`where` names the setting in errors; `text` is the DSN as given."""

    where: str
    text: str
    url: SplitResult
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str, where: str, schemes: Iterable[str]) -> "Dsn":
        """Raises ConfigError for what is no DSN and for a scheme that is not among `schemes`, naming these."""
        known = sorted(schemes)
        choices = ", ".join(f"{scheme}://" for scheme in known)
        try:
            url = urlsplit(text)
            options = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
        except ValueError as error:
            raise ConfigError(f"{where}: {cls.hide_password(text)!r} is no DSN: {error}") from None
        if "://" not in text or url.scheme not in known:
            near = difflib.get_close_matches(url.scheme, known, n=1)
            hint = f"; did you mean {near[0]}://?" if near else ""
            raise ConfigError(f"{where}: {cls.hide_password(text)!r} must start with one of {choices}{hint}")
        return cls(where, text, url, options)

    @property
    def scheme(self) -> str:
        return self.url.scheme

    def numbers(self, *names: str, texts: tuple[str, ...] = ()) -> dict[str, int]:
        """The options of these names that are given, each a whole number of at least 1. Options named in `texts` are left alone. Raises
        ConfigError for any other option or value."""
        known = (*names, *texts)
        for name, value in self.options.items():
            if name in texts:
                continue
            if name not in names:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ConfigError(f"{self.where}: {name} is not an option of {self.scheme}://{hint}")
            if not (value.isascii() and value.isdigit() and int(value) >= 1):
                raise ConfigError(f"{self.where}: option {name} must be a whole number of at least 1, got {value!r}")
        return {name: int(self.options[name]) for name in names if name in self.options}

    def host_and_port(self) -> str:
        """`host:port`, the port 0 for a free one. Raises ConfigError when one is missing."""
        try:
            host, port = self.url.hostname, self.url.port
        except ValueError as error:
            raise ConfigError(f"{self.where}: {error}") from None
        if not host or port is None or self.url.path not in ("", "/"):
            raise ConfigError(f"{self.where} must look like {self.scheme}://HOST:PORT")
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def hosts(self, default_port: int) -> list[tuple[str, int]]:
        """The servers named, in order: `host1:port1,host2,[::1]:port3`. Raises ConfigError for none and for what is no port."""
        if "@" in self.url.path + self.url.fragment:  # and what stands for the host is half of the password
            raise ConfigError(f"{self.where}: `/`, `?`, `#` and `@` in a password are written %2F, %3F, %23 and %40")
        found = []
        for part in self.url.netloc.rpartition("@")[2].split(","):
            match = _HOST.fullmatch(part)
            port = int(match["port"] or default_port) if match is not None else 0
            if match is None or not 1 <= port <= 65_535:
                raise ConfigError(
                    f"{self.where} must look like {self.scheme}://HOST:PORT or {self.scheme}://HOST1:PORT1,HOST2:PORT2, got {part!r}"
                )
            found.append((match["v6"] or match["name"], port))
        return found

    def login(self) -> tuple[str, str]:
        """User and password, each empty when there is none, percent signs decoded."""
        user, _, password = self.url.netloc.rpartition("@")[0].partition(":")
        return unquote(user), unquote(password)

    @staticmethod
    def hide_password(text: str) -> str:
        """
        >>> Dsn.hide_password("mysql://taco:hunter2@db/taco")
        'mysql://taco:***@db/taco'
        """
        return _PASSWORD.sub(r"\1***\2", text)
