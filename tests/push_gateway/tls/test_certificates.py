"""Which files make a certificate, and what is said about those that make none."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from push_core.errors import ConfigError
from push_gateway.settings import GatewaySettings
from push_gateway.tls.certificates import Files, load
from tests.support.certificates import Authority
from tests.support.certificates import Files as Issued


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return Authority(tmp_path).issue("127.0.0.1")


def files(issued: Issued, **settings: Any) -> Files:
    found = Files.of(GatewaySettings(**({"tls_cert": issued.cert, "tls_key": issued.key} | settings)))
    assert found is not None
    return found


def test_without_a_certificate_there_is_no_tls() -> None:
    assert Files.of(GatewaySettings()) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tls_key": Path("k.pem")}, "tls_cert: not set, but tls_key is"),
        ({"tls_client_ca": Path("ca.pem")}, "tls_cert: not set, but tls_client_ca is"),
        ({"tls_clients": "required"}, "tls_clients: 'required' needs TLS"),
        (
            {"tls_cert": Path("c.pem"), "tls_clients": "optional"},
            "tls_client_ca: not set, and tls_clients is 'optional'",
        ),
        ({"tls_cert": Path("c.pem"), "tls_client_ca": Path("ca.pem")}, "tls_client_ca: set, and tls_clients is 'none'"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Files.of(GatewaySettings(**settings))
    assert said in str(refused.value)


def test_what_is_offered_is_tls_12_and_13_with_forward_secrecy(issued: Issued) -> None:
    context = load(files(issued)).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.maximum_version in (ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3)
    assert {cipher["protocol"] for cipher in context.get_ciphers()} == {"TLSv1.2", "TLSv1.3"}
    for cipher in context.get_ciphers():
        assert cipher["aead"]
        assert cipher["kea"] in ("kx-ecdhe", "kx-any")
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_certificate_and_key_may_share_a_file(issued: Issued) -> None:
    issued.cert.write_bytes(issued.cert.read_bytes() + issued.key.read_bytes())
    assert load(files(issued, tls_key=None)).problem(datetime.now(UTC)) is None


def test_a_file_that_is_missing_is_named(issued: Issued) -> None:
    issued.key.unlink()
    with pytest.raises(ConfigError) as refused:
        load(files(issued))
    assert f"tls_key: {issued.key} can't be read (No such file" in str(refused.value)


def test_a_key_of_another_certificate_is_named(issued: Issued) -> None:
    other = Authority(issued.cert.parent / "other").issue("127.0.0.1")
    with pytest.raises(ConfigError) as refused:
        load(files(issued, tls_key=other.key))
    assert f"{other.key} is not the key of the first certificate in {issued.cert}" in str(refused.value)


def test_a_key_with_a_password_asks_nobody(issued: Issued) -> None:
    key = serialization.load_pem_private_key(issued.key.read_bytes(), None)
    issued.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError) as refused:
        load(files(issued))
    assert "has a password" in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"]
)
def test_files_that_are_no_certificates_are_named(issued: Issued, content: bytes) -> None:
    good = issued.cert.read_bytes()
    issued.cert.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(files(issued))
    assert "are no certificate" in str(refused.value)
    issued.cert.write_bytes(good)
    ca = issued.cert.with_name("clients.pem")
    ca.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(files(issued, tls_client_ca=ca, tls_clients="optional"))
    assert f"tls_client_ca: {ca} holds no certificate" in str(refused.value)


def test_when_a_certificate_is_no_good_is_said(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    early = load(files(Authority(tmp_path).issue("x", begins=timedelta(days=1), ends=timedelta(days=2))))
    assert "does not hold before" in (early.problem(now) or "")
    late = load(files(Authority(tmp_path).issue("x", begins=-timedelta(days=2), ends=-timedelta(days=1))))
    assert "expired at" in (late.problem(now) or "")


def test_a_mark_changes_with_every_kind_of_change(issued: Issued) -> None:
    found = files(issued)
    first = found.mark()
    assert found.mark() == first
    again = issued.key.with_name("new")
    again.write_bytes(issued.key.read_bytes())
    again.replace(issued.key)  # the same bytes under a new inode: how careful programs write
    assert found.mark() != first
    issued.key.unlink()
    assert found.mark()[1] is None
