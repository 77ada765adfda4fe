"""The `webhook` channel: POSTs a delivery as JSON to the URL that its app configured, through the outbound guard.

The app's settings: `channels["webhook"] = {"url": "https://…", "secret": "…"}`; with a secret each request is signed,
`Taco-Signature: t=<Unix seconds>,v1=<hex HMAC-SHA256 of "<t>." and the body>` (the scheme of Stripe's webhooks), so that the receiver can
check origin and age. `Idempotency-Key` is the same for every try of one delivery.

| answer | outcome |
|---|---|
| 2xx | DELIVERED_TO_VENDOR |
| 410, or 404 with `{"error":"token_invalid"}` | TOKEN_INVALID |
| 408, 425, 429, 5xx, no answer | RETRY_AFTER, by `Retry-After` (RFC 9110 10.2.3: seconds or a date) |
| 3xx | REJECTED: redirects are not followed |
| other 4xx | REJECTED |
"""

import asyncio
import email.utils
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec

from dispatcher.fallback.guard import Guard, Refused
from dispatcher.fallback.guarded_http import guarded_client
from dispatcher.fallback.jobs import VendorJob
from dispatcher.fallback.port import Result, VendorOutcome
from push_core.cache import Cache
from push_core.clock import Clock, WallMs
from push_core.devices.port import Devices
from push_core.errors import Unavailable
from push_core.models import App

NAME = "webhook"
APPS_TTL_S = 10.0
MAX_RETRY_AFTER_S = 3_600.0
DIGITS = 10


class WebhookBody(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint gets. `push` is the push as the device protocol has it."""

    id: str
    app: str
    device: str
    token: str
    attempt: int
    push: msgspec.Raw
    overrides: dict[str, object] | None = None


class WebhookChannel:
    def __init__(
        self,
        devices: Devices,
        guard: Guard,
        clock: Clock,
        *,
        timeout_s: float,
        connections: int,
        calls_per_app: int,
        response_bytes: int,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._guard = guard
        self._clock = clock
        self._timeout_s = timeout_s
        self._calls_per_app = calls_per_app
        self._response_bytes = response_bytes
        self._client = client or guarded_client(guard, timeout_s=timeout_s, connections=connections)
        self._apps: Cache[str, App] = Cache(devices.apps, ttl_s=APPS_TTL_S, size=10_000, name="webhook.apps")
        # One slow endpoint gets its share of the connections and no more. Few apps have a webhook: kept for good.
        self._lanes: dict[str, asyncio.Semaphore] = {}

    @property
    def name(self) -> str:
        return NAME

    @property
    def max_batch(self) -> int:
        # Every call of a batch has to fit into the claim: no more than go at the same time.
        return self._calls_per_app

    async def send(self, jobs: Sequence[VendorJob]) -> list[VendorOutcome]:
        names = list({job.envelope.app for job in jobs})
        try:
            apps = dict(zip(names, await self._apps.get_many(names), strict=True))
        except Unavailable:
            return [VendorOutcome(Result.RETRY_AFTER, "settings of the app are not at hand")] * len(jobs)
        return list(await asyncio.gather(*(self._one(job, apps[job.envelope.app]) for job in jobs)))

    async def close(self) -> None:
        await self._apps.close()
        await self._client.aclose()

    async def _one(self, job: VendorJob, app: App | None) -> VendorOutcome:
        settings = app.channels.get(NAME) if app is not None else None
        url = settings.get("url") if settings else None
        if not isinstance(url, str) or settings is None:
            return VendorOutcome(Result.SKIPPED, "the app has no webhook URL")
        body = body_of(job)
        try:
            self._guard.check_url(url)
            async with asyncio.timeout(self._timeout_s):
                async with self._lanes.setdefault(job.envelope.app, asyncio.Semaphore(self._calls_per_app)):
                    return await self._post(url, body, headers_of(job, body, settings, self._clock.wall_ms()))
        except Refused as error:
            return VendorOutcome(Result.REJECTED, str(error))
        except httpx.InvalidURL:
            return VendorOutcome(Result.REJECTED, "not a URL")
        except TimeoutError:
            return VendorOutcome(Result.RETRY_AFTER, "no answer in time")
        except httpx.HTTPError as error:
            return VendorOutcome(Result.RETRY_AFTER, type(error).__name__)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> VendorOutcome:
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            answer = b""
            # Undecoded: a few bytes of gzip must not become gigabytes here. Asked for as identity.
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > self._response_bytes:
                    break  # leaving the block closes the connection
            return outcome_of(response.status_code, response.headers, answer, self._clock.wall_ms())


def body_of(job: VendorJob) -> bytes:
    envelope = job.envelope
    return msgspec.json.encode(
        WebhookBody(
            id=str(envelope.id),
            app=envelope.app,
            device=job.device,
            token=job.token,
            attempt=job.tries + 1,
            push=msgspec.Raw(envelope.push),
            overrides=(envelope.vendor or {}).get(NAME),
        )
    )


def headers_of(job: VendorJob, body: bytes, settings: Mapping[str, Any], now: WallMs) -> dict[str, str]:
    envelope = job.envelope
    headers = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "taco-webhook/1",
        "Taco-Message-Id": str(envelope.id),
        "Idempotency-Key": idempotency_key(job),
    }
    if envelope.traceparent.isascii() and envelope.traceparent.isprintable() and envelope.traceparent:
        headers["traceparent"] = envelope.traceparent
    secret = settings.get("secret")
    if isinstance(secret, str) and secret:
        headers["Taco-Signature"] = signature(secret, body, now // 1_000)
    return headers


def idempotency_key(job: VendorJob) -> str:
    """The message's id, and a short hash of the device: a message to two devices is two deliveries."""
    device = hashlib.sha256(f"{job.envelope.app}\0{job.device}".encode()).hexdigest()[:16]
    return f"{job.envelope.id}-{device}"


def signature(secret: str, body: bytes, at_s: int) -> str:
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def outcome_of(status: int, headers: Mapping[str, str], answer: bytes, now: WallMs) -> VendorOutcome:
    """Pure."""
    reason = str(status)
    if 200 <= status < 300:
        return VendorOutcome(Result.DELIVERED_TO_VENDOR, reason)
    if status == 410 or (status == 404 and _says_token_invalid(answer)):
        return VendorOutcome(Result.TOKEN_INVALID, reason)
    if status in (408, 425, 429) or status >= 500:
        return VendorOutcome(Result.RETRY_AFTER, reason, delay_s=retry_after_s(headers.get("retry-after"), now))
    return VendorOutcome(Result.REJECTED, reason)


def retry_after_s(value: str | None, now: WallMs) -> float | None:
    """Seconds by a Retry-After header, an hour at most; None without a usable one."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:DIGITS]), MAX_RETRY_AFTER_S)
    try:
        at = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(at - now / 1_000, 0.0), MAX_RETRY_AFTER_S)


def _says_token_invalid(answer: bytes) -> bool:
    try:
        said = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return False
    return isinstance(said, dict) and said.get("error") == "token_invalid"
