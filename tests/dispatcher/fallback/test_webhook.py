"""The webhook channel against an endpoint that can be told to misbehave, every connection through the guard."""

import asyncio
import datetime as dt
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpcore
import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dispatcher.fallback.guard import Guard
from dispatcher.fallback.guarded_http import guarded_client
from dispatcher.fallback.jobs import VendorJob
from dispatcher.fallback.port import Result, VendorOutcome
from dispatcher.fallback.webhook import WebhookChannel, outcome_of, retry_after_s
from push_core.clock import Clock
from push_core.devices.sql import SqlDevices
from push_core.models import App
from tests.dispatcher.fallback.test_guard import PUBLIC, Resolver
from tests.dispatcher.test_settle import NOW, delivery
from tests.support.vendor_endpoint import VendorEndpoint

LOCAL = ("127.0.0.0/8",)
CLOCK = Clock(lambda: NOW)


@pytest.fixture
async def endpoint() -> AsyncIterator[VendorEndpoint]:
    started = await VendorEndpoint().start()
    yield started
    await started.stop()


@pytest.fixture
async def devices() -> AsyncIterator[SqlDevices]:
    store = await SqlDevices.open("sqlite://")
    yield store
    await store.close()


class Hook:
    """A channel and an app that points somewhere."""

    def __init__(
        self,
        devices: SqlDevices,
        guard: Guard,
        *,
        timeout_s: float = 5.0,
        response_bytes: int = 4_096,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self.devices = devices
        self.channel = WebhookChannel(
            devices,
            guard,
            CLOCK,
            timeout_s=timeout_s,
            connections=8,
            calls_per_app=4,
            response_bytes=response_bytes,
            client=client,
        )

    async def send(self, url: str | None, *tokens: str, **settings: Any) -> list[VendorOutcome]:
        channels = {"webhook": {"url": url, **settings}} if url is not None else {}
        await self.devices.put_apps([App(name="courier", channels=channels)])
        outcomes = await self.channel.send([job(token) for token in tokens or ("t-1",)])
        await self.channel.close()
        return outcomes


def job(token: str, device: str = "d-1") -> VendorJob:
    return VendorJob(envelope=delivery().envelope, device=device, channel="webhook", token=token, tries=1)


def local(endpoint: VendorEndpoint, path: str = "/hook") -> str:
    return f"http://127.0.0.1:{endpoint.port}{path}"


@pytest.mark.parametrize(
    ("token", "result", "delay_s"),
    [
        ("t-1", Result.DELIVERED_TO_VENDOR, None),
        ("fail:x", Result.RETRY_AFTER, None),
        ("busy:3:x", Result.RETRY_AFTER, 3.0),
        ("reject:x", Result.REJECTED, None),
        ("dead:x", Result.TOKEN_INVALID, None),
        ("lost:x", Result.REJECTED, None),
        ("gone:x", Result.TOKEN_INVALID, None),
        ("garbage:x", Result.RETRY_AFTER, None),
        ("close:x", Result.RETRY_AFTER, None),
    ],
)
async def test_every_answer_is_an_outcome(
    endpoint: VendorEndpoint, devices: SqlDevices, token: str, result: Result, delay_s: float | None
) -> None:
    (outcome,) = await Hook(devices, Guard(allowed=LOCAL)).send(local(endpoint), token)
    assert (outcome.result, outcome.delay_s) == (result, delay_s)


@pytest.mark.parametrize("token", ["delay:60:x", "drip:x"])
async def test_an_endpoint_that_takes_too_long_is_left(
    endpoint: VendorEndpoint, devices: SqlDevices, token: str
) -> None:
    (outcome,) = await Hook(devices, Guard(allowed=LOCAL), timeout_s=0.1).send(local(endpoint), token)
    assert outcome.result is Result.RETRY_AFTER


async def test_an_answer_without_end_is_read_up_to_a_bound(endpoint: VendorEndpoint, devices: SqlDevices) -> None:
    (outcome,) = await Hook(devices, Guard(allowed=LOCAL)).send(local(endpoint), "flood:x")
    assert outcome.result is Result.DELIVERED_TO_VENDOR


async def test_a_redirect_is_not_followed(endpoint: VendorEndpoint, devices: SqlDevices) -> None:
    other = await VendorEndpoint().start()
    (outcome,) = await Hook(devices, Guard(allowed=LOCAL)).send(local(endpoint), f"redirect:{local(other)}")
    assert outcome.result is Result.REJECTED
    assert other.calls == []
    await other.stop()


async def test_nobody_listening_is_a_try_for_later(devices: SqlDevices, endpoint: VendorEndpoint) -> None:
    closed = await VendorEndpoint().start()
    url = local(closed)
    await closed.stop()
    (outcome,) = await Hook(devices, Guard(allowed=LOCAL)).send(url)
    assert outcome.result is Result.RETRY_AFTER


async def test_the_request_says_what_it_is_and_is_signed(endpoint: VendorEndpoint, devices: SqlDevices) -> None:
    await Hook(devices, Guard(allowed=LOCAL)).send(local(endpoint), "t-1", secret="whsec")
    (call,) = endpoint.calls
    assert call.json == {
        "id": "1",
        "app": "courier",
        "device": "d-1",
        "token": "t-1",
        "attempt": 2,
        "push": {},
        "overrides": None,
    }
    assert call.headers["content-type"] == "application/json"
    assert call.headers["taco-message-id"] == "1"
    signed = hmac.new(b"whsec", f"{NOW // 1000}.".encode() + call.body, hashlib.sha256).hexdigest()
    assert call.headers["taco-signature"] == f"t={NOW // 1000},v1={signed}"


async def test_without_a_secret_nothing_is_signed(endpoint: VendorEndpoint, devices: SqlDevices) -> None:
    await Hook(devices, Guard(allowed=LOCAL)).send(local(endpoint))
    assert "taco-signature" not in endpoint.calls[0].headers


async def test_tries_of_one_delivery_share_a_key_and_two_devices_do_not(
    endpoint: VendorEndpoint, devices: SqlDevices
) -> None:
    hook = Hook(devices, Guard(allowed=LOCAL))
    await devices.put_apps([App(name="courier", channels={"webhook": {"url": local(endpoint)}})])
    for device in ("d-1", "d-1", "d-2"):
        await hook.channel.send([job("t", device)])
    await hook.channel.close()
    keys = [call.headers["idempotency-key"] for call in endpoint.calls]
    assert keys[0] == keys[1] != keys[2]
    assert all(key.startswith("1-") for key in keys)


async def test_the_trace_id_rides_along(endpoint: VendorEndpoint, devices: SqlDevices) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    hook = Hook(devices, Guard(allowed=LOCAL))
    await devices.put_apps([App(name="courier", channels={"webhook": {"url": local(endpoint)}})])
    traced = msgspec.structs.replace(job("t"), envelope=msgspec.structs.replace(delivery().envelope, traceparent=trace))
    await hook.channel.send([traced])
    await hook.channel.close()
    assert endpoint.calls[0].headers["traceparent"] == trace


async def test_connections_are_kept(endpoint: VendorEndpoint, devices: SqlDevices) -> None:
    hook = Hook(devices, Guard(allowed=LOCAL))
    await devices.put_apps([App(name="courier", channels={"webhook": {"url": local(endpoint)}})])
    for _ in range(5):
        await hook.channel.send([job("t")])
    await hook.channel.close()
    assert endpoint.connections == 1


async def test_calls_of_one_app_are_bounded(endpoint: VendorEndpoint, devices: SqlDevices) -> None:
    tokens = ["delay:0.05:x"] * 10
    outcomes = await Hook(devices, Guard(allowed=LOCAL)).send(local(endpoint), *tokens)
    assert {outcome.result for outcome in outcomes} == {Result.DELIVERED_TO_VENDOR}
    assert endpoint.connections <= 4


# ── the guard ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_private_address_is_not_called(endpoint: VendorEndpoint, devices: SqlDevices) -> None:
    (outcome,) = await Hook(devices, Guard()).send(local(endpoint))
    assert outcome.result is Result.REJECTED
    assert endpoint.connections == 0


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "0177.0.0.1", "user@127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"]
)
async def test_a_private_address_in_disguise_is_not_called(
    endpoint: VendorEndpoint, devices: SqlDevices, host: str
) -> None:
    (outcome,) = await Hook(devices, Guard()).send(f"http://{host}:{endpoint.port}/")
    assert outcome.result is Result.REJECTED
    assert endpoint.connections == 0


async def test_a_name_that_changes_its_answer_gains_nothing(endpoint: VendorEndpoint, devices: SqlDevices) -> None:
    """DNS rebinding: public when it is checked, private when it is dialled. It is resolved once; what was checked is dialled."""
    resolver = Resolver([PUBLIC], ["127.0.0.1"])
    dialled: list[str] = []
    hook = Hook(devices, Guard(resolve=resolver), timeout_s=1.0)
    backend = hook.channel._client._transport._pool._network_backend._inner  # type: ignore[attr-defined]

    async def connect_tcp(host: str, *rest: object, **more: object) -> None:
        dialled.append(host)
        raise httpcore.ConnectError("not really")

    backend.connect_tcp = connect_tcp
    await devices.put_apps([App(name="courier", channels={"webhook": {"url": f"http://hook.test:{endpoint.port}/"}})])
    first = await hook.channel.send([job("t")])
    second = await hook.channel.send([job("t")])
    await hook.channel.close()
    assert (first[0].result, second[0].result) == (Result.RETRY_AFTER, Result.REJECTED)
    assert dialled == [PUBLIC]
    assert resolver.asked == 2
    assert endpoint.connections == 0


async def test_the_checked_address_is_dialled_and_the_name_is_asked_for(
    endpoint: VendorEndpoint, devices: SqlDevices
) -> None:
    resolver = Resolver(["127.0.0.1"])
    (outcome,) = await Hook(devices, Guard(allowed=LOCAL, resolve=resolver)).send(f"http://hook.test:{endpoint.port}/a")
    assert outcome.result is Result.DELIVERED_TO_VENDOR
    assert endpoint.calls[0].headers["host"] == f"hook.test:{endpoint.port}"


async def test_names_at_one_address_never_share_a_connection(endpoint: VendorEndpoint, devices: SqlDevices) -> None:
    hook = Hook(devices, Guard(allowed=LOCAL, resolve=Resolver(["127.0.0.1"])))
    for name in ("a.test", "b.test"):
        hook.channel._apps.invalidate("courier")
        await devices.put_apps([App(name="courier", channels={"webhook": {"url": f"http://{name}:{endpoint.port}/"}})])
        await hook.channel.send([job("t")])
    await hook.channel.close()
    assert endpoint.connections == 2


async def test_tls_asks_for_the_name_and_checks_it_though_an_address_is_dialled(
    devices: SqlDevices, tmp_path: Path
) -> None:
    server, client = tls_for("hook.test", tmp_path)
    endpoint = await VendorEndpoint(tls=server).start()
    guard = Guard(allowed=LOCAL, resolve=Resolver(["127.0.0.1"]))
    results = []
    for name in ("hook.test", "other.test"):
        http = guarded_client(guard, timeout_s=5.0, connections=2, verify=client)
        hook = Hook(devices, guard, client=http)
        results += await hook.send(f"https://{name}:{endpoint.port}/")
    assert [outcome.result for outcome in results] == [Result.DELIVERED_TO_VENDOR, Result.RETRY_AFTER]
    await endpoint.stop()


def tls_for(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for the name, and a client's that trusts nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, private)
    return server, ssl.create_default_context(cafile=str(cert))


async def test_a_name_that_is_not_found_is_a_try_for_later(devices: SqlDevices) -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("not found")

    (outcome,) = await Hook(devices, Guard(resolve=nowhere)).send("https://nowhere.test/")
    assert outcome.result is Result.RETRY_AFTER


async def test_a_resolver_that_hangs_is_left(devices: SqlDevices) -> None:
    async def hangs(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    (outcome,) = await Hook(devices, Guard(resolve=hangs, resolve_timeout_s=0.05)).send("https://slow.test/")
    assert outcome.result is Result.RETRY_AFTER


@pytest.mark.parametrize(
    ("url", "result"),
    [
        (None, Result.SKIPPED),
        ("not a url", Result.REJECTED),
        ("ftp://example.com/", Result.REJECTED),
        ("https://example.com:25/", Result.REJECTED),
        ("https://" + "a" * 300 + ".test/", Result.REJECTED),
        ("https://exa%mple.test/", Result.REJECTED),
    ],
)
async def test_what_an_app_configured_wrong_is_refused(devices: SqlDevices, url: str | None, result: Result) -> None:
    (outcome,) = await Hook(devices, Guard(resolve=Resolver([PUBLIC]))).send(url)
    assert outcome.result is result


# ── plain values ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("999999999999999999", 3_600.0),
        ("-5", None),
        ("soon", None),
        ("1.5", None),
        ("Mon, 21 Sep 2026 14:13:30 GMT", 10.0),
        ("Mon, 21 Sep 2020 14:13:30 GMT", 0.0),
        ("Fri, 99 Foo 2026 25:61:61 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.DELIVERED_TO_VENDOR),
        (204, Result.DELIVERED_TO_VENDOR),
        (301, Result.REJECTED),
        (401, Result.REJECTED),
        (408, Result.RETRY_AFTER),
        (410, Result.TOKEN_INVALID),
        (425, Result.RETRY_AFTER),
        (429, Result.RETRY_AFTER),
        (500, Result.RETRY_AFTER),
        (599, Result.RETRY_AFTER),
    ],
)
def test_statuses(status: int, result: Result) -> None:
    assert outcome_of(status, {}, b"", NOW).result is result
