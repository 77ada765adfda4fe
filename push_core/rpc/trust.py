"""Whom programs believe: the cluster key, certificates, and the networks in which peers are looked for. Knows nothing of the transport.

An address of a peer comes out of presence, and whoever can write there must not make a program call anywhere else: without certificates an
address is dialled only inside the allowed networks; with them the peer proves the address itself.
"""

import hashlib
import ipaddress
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from push_core.errors import ConfigError

_LOOPBACK = ("127.0.0.0/8", "::1/128", "localhost")
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")


@dataclass(frozen=True, slots=True)
class Certificates:
    """Of this program, with its key, and of the authority that signs those of all programs; PEM. `name`: what peers' certificates carry
    when that is not the host they are dialled by."""

    cert: bytes
    key: bytes = field(repr=False)
    ca: bytes
    name: str | None = None

    @classmethod
    def load(cls, cert: Path | None, key: Path | None, ca: Path | None, name: str | None) -> "Certificates | None":
        """None when none is named. Raises ConfigError naming the setting and the file at fault."""
        files = {"rpc_cert": cert, "rpc_key": key, "rpc_ca": ca}
        missing = [setting for setting, path in files.items() if path is None]
        if cert is None or key is None or ca is None:
            if len(missing) == len(files):
                return None
            raise ConfigError(
                f"[stores] {missing[0]}: not set; rpc_cert, rpc_key and rpc_ca belong together: set all three, or none"
            )
        read = {setting: _read(setting, path) for setting, path in files.items() if path is not None}
        try:
            ssl.create_default_context(cafile=str(ca))
        except (ssl.SSLError, OSError):
            raise ConfigError(f"[stores] rpc_ca: {ca} holds no certificate that can be read (PEM)") from None
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
        except (ssl.SSLError, OSError):
            raise ConfigError(
                f"[stores] rpc_cert: {cert} and rpc_key {key} are no certificate and its private key (PEM, without a password)"
            ) from None
        return cls(read["rpc_cert"], read["rpc_key"], read["rpc_ca"], name)


class Networks:
    """Where peers may be: networks in CIDR notation, single addresses, host names, `*.suffix` for all names below one, and `*` for names
    without a dot. Raises ConfigError for an entry that is none of these."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._entries = tuple(entries)
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._names: list[str] = []
        for entry in entries:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                if "/" in entry or not entry.strip() or entry.strip("0123456789.") == "":
                    raise ConfigError(
                        f"[stores] rpc_allowed_networks: {entry!r} is neither a network (10.0.0.0/8) nor a host name"
                    ) from None
                self._names.append(entry.lower())

    @classmethod
    def of_listener(cls, address: str, advertise: str | None = None) -> "Networks":
        """The default: whoever listens on loopback has peers there; whoever doesn't has them there, in private networks, and among the names
        beside the one that it is advertised by."""
        own = cls(_LOOPBACK)
        if advertise is None and own.allow(address):
            return own
        return cls((*_LOOPBACK, *_PRIVATE, *_beside(advertise or "")))

    def allow(self, address: str) -> bool:
        """Whether `host:port` is inside."""
        host = address.rpartition(":")[0].strip("[]").lower()
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            return any(_matches(host, name) for name in self._names)
        return any(ip in network for network in self._networks)

    def __str__(self) -> str:
        return ", ".join(self._entries)


def _matches(host: str, name: str) -> bool:
    if name == "*":
        return bool(host) and "." not in host
    return host == name or (name[:2] == "*." and host.endswith(name[1:]))


def _beside(host: str) -> tuple[str, ...]:
    """The names beside this one; none beside an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        parent = host.partition(".")[2]
        return (f"*.{parent}",) if parent else ("*",) if host else ()
    return ()


def proof_of(cluster_key: str | None) -> str:
    """Its hash is shown instead of the key itself: metadata takes only some characters, keys may have any. Without a key a random one is
    made: then only listeners of this very process can be called."""
    return hashlib.sha256((cluster_key or secrets.token_urlsafe(32)).encode()).hexdigest()


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"[stores] {setting}: {path} cannot be read ({error.strerror})") from None


def _no_password() -> str:
    """A key with a password would be asked for on the terminal, where nobody is."""
    return ""
