"""A certificate authority for tests, and certificates that it signs."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from push_core.rpc.trust import Certificates

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Files:
    cert: Path
    key: Path
    ca: Path

    def client(self, *, certificate: bool = False) -> ssl.SSLContext:
        """What a client needs that believes the authority; `certificate`: it shows this one too."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if certificate:
            context.load_cert_chain(self.cert, self.key)
        return context

    def load(self, name: str | None = None) -> Certificates:
        loaded = Certificates.load(self.cert, self.key, self.ca, name)
        assert loaded is not None
        return loaded


class Authority:
    """Signs what it is asked to; its files are in `folder`."""

    def __init__(self, folder: Path, name: str = "taco-test") -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        cert = (
            _begun(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    def issue(self, *names: str, file: str = "node", begins: timedelta = -HOUR, ends: timedelta = HOUR) -> Files:
        """For these hosts: names or addresses; good from `begins` to `ends`, counted from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file)])
        cert = (
            _begun(subject, self._name, key.public_key(), begins, ends)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        files = Files(self._folder / f"{file}.pem", self._folder / f"{file}.key", self.ca)
        files.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begins: timedelta = -HOUR,
    ends: timedelta = HOUR,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
