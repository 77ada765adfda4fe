"""The certificate, its key and the authority of clients, from files: what they make, or a sentence on why they make nothing.

Knows nothing of connections. The files are read by OpenSSL itself, so that what is accepted here is what handshakes use.
"""

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from push_core.errors import ConfigError
from push_gateway.settings import GatewaySettings

NONE, OPTIONAL, REQUIRED = "none", "optional", "required"
_VERIFY = {NONE: ssl.CERT_NONE, OPTIONAL: ssl.CERT_OPTIONAL, REQUIRED: ssl.CERT_REQUIRED}
# Of TLS 1.2 what has forward secrecy and authenticated encryption (RFC 9325 §4.2); those of TLS 1.3 are all good.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
ALPN = "http/1.1"  # RFC 6455 upgrades it; RFC 8441 (HTTP/2) is not spoken here
TICKETS = 1  # one is what a reconnect uses; OpenSSL's default of two costs each handshake 30 µs more

Mark = tuple[tuple[int, int, int] | None, ...]
"""Of each file its inode, size and time of change in ns; None where there is none. Different marks: look again."""


@dataclass(frozen=True, slots=True)
class Files:
    """`ca` signs the certificates of clients, which are asked for unless `clients` is "none"."""

    cert: Path
    key: Path
    ca: Path | None
    clients: str

    @classmethod
    def of(cls, settings: GatewaySettings) -> "Files | None":
        """None: no TLS. Raises ConfigError for settings that don't belong together."""
        cert, key, ca, clients = settings.tls_cert, settings.tls_key, settings.tls_client_ca, settings.tls_clients
        if cert is None:
            for name, value in (("tls_key", key), ("tls_client_ca", ca)):
                if value is not None:
                    raise ConfigError(
                        f"[gateway] tls_cert: not set, but {name} is; set tls_cert and tls_key for TLS, or none of them"
                    )
            if clients != NONE:
                raise ConfigError(f"[gateway] tls_clients: {clients!r} needs TLS; set tls_cert and tls_key")
            return None
        if (clients != NONE) != (ca is not None):
            raise ConfigError(
                f"[gateway] tls_client_ca: {'not set' if ca is None else 'set'}, and tls_clients is {clients!r}; certificates of clients need "
                "both: the authority that signs them, and `optional` or `required`"
            )
        return cls(cert, key or cert, ca, clients)

    @property
    def named(self) -> tuple[tuple[str, Path], ...]:
        """Each file with the setting that names it."""
        files = [("tls_cert", self.cert), ("tls_key", self.key)]
        return (*files, ("tls_client_ca", self.ca)) if self.ca is not None else tuple(files)

    def mark(self) -> Mark:
        return tuple(_mark(path) for _, path in self.named)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What handshakes use, and for how long the certificate holds."""

    context: ssl.SSLContext
    begins: datetime
    expires: datetime
    mark: Mark

    def problem(self, now: datetime) -> str | None:
        """Why no client would take it now."""
        if now >= self.expires:
            return f"it expired at {_utc(self.expires)}"
        return f"it does not hold before {_utc(self.begins)}" if now < self.begins else None


def load(files: Files) -> Loaded:
    """Reads all of the files. Raises ConfigError with a sentence that names the setting and the file."""
    mark = files.mark()  # before they are read: what changes meanwhile is seen as a change
    for setting, path in files.named:
        _readable(setting, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols([ALPN])
    context.num_tickets = TICKETS
    context.options |= ssl.OP_NO_RENEGOTIATION
    # All that is left is good, and a phone knows which of it its processor does in hardware.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
        leaf = x509.load_pem_x509_certificates(files.cert.read_bytes())[0]
    except (ssl.SSLError, OSError, ValueError, _PasswordNeeded) as error:
        raise ConfigError(_why_not(files, error)) from None
    if files.ca is not None:
        try:
            context.load_verify_locations(files.ca)
        except (ssl.SSLError, OSError):
            raise ConfigError(
                f"[gateway] tls_client_ca: {files.ca} holds no certificate that can be read (PEM)"
            ) from None
    context.verify_mode = _VERIFY[files.clients]
    return Loaded(context, leaf.not_valid_before_utc, leaf.not_valid_after_utc, mark)


class _PasswordNeeded(Exception):
    pass


def _no_password() -> str:
    raise _PasswordNeeded  # else OpenSSL asks on the terminal


def _readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"[gateway] {setting}: {path} can't be read ({error.strerror})") from None


def _why_not(files: Files, error: Exception) -> str:
    if isinstance(error, _PasswordNeeded):
        return f"[gateway] tls_key: {files.key} has a password, and nobody is there to type it; store the key without one, readable by us alone"
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"[gateway] tls_key: {files.key} is not the key of the first certificate in {files.cert}"
    return (
        f"[gateway] tls_cert: {files.cert} and tls_key {files.key} are no certificate (PEM, its own first, then those that lead to the "
        "root) and its private key"
    )


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()  # follows links: secrets that a cluster mounts are swapped by one
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _utc(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
