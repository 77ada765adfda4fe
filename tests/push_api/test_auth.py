import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from push_api.auth import Authenticator
from push_core.errors import DeadlineExceeded, Unavailable, UserError
from push_core.metrics.memory import MemoryMetrics
from push_core.models import App
from tests.push_api.conftest import app_with_key
from tests.support.hand_clock import HandClock


class Apps:
    """A device store that holds apps, and counts how often it is asked."""

    def __init__(self, *apps: App) -> None:
        self.stored = {app.name: app for app in apps}
        self.asked: list[list[str]] = []
        self.gate: asyncio.Event | None = None
        self.error: Unavailable | None = None

    async def apps(self, names: Sequence[str]) -> list[App | None]:
        self.asked.append(list(names))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [self.stored.get(name) for name in names]


def authenticator(apps: Apps, clock: HandClock | None = None, **options: Any) -> Authenticator:
    options = {"ttl_s": 2.0, "stale_s": 30.0, "size": 10, "timeout_s": 5.0, **options}
    return Authenticator(apps, (clock or HandClock()).clock(), MemoryMetrics(), **options)  # type: ignore[arg-type]


async def code_of(auth: Authenticator, header: str | None) -> str:
    with pytest.raises(UserError) as refused:
        await auth.app_of(header)
    return refused.value.code


async def test_a_right_key_is_its_app() -> None:
    auth = authenticator(Apps(app_with_key("demo", "secret")))
    assert (await auth.app_of("Bearer demo.secret")).name == "demo"


async def test_both_keys_of_a_rotation_are_right() -> None:
    auth = authenticator(Apps(app_with_key("demo", "old", "new")))
    assert (await auth.app_of("Bearer demo.old")).name == "demo"
    assert (await auth.app_of("Bearer demo.new")).name == "demo"
    assert await code_of(auth, "Bearer demo.older") == "unauthorized"


async def test_a_secret_may_have_dots() -> None:
    auth = authenticator(Apps(app_with_key("demo", "a.b.c")))
    assert (await auth.app_of("Bearer demo.a.b.c")).name == "demo"


async def test_an_app_without_keys_has_no_right_one() -> None:
    auth = authenticator(Apps(App(name="demo")))
    assert await code_of(auth, "Bearer demo.") == "unauthorized"
    assert await code_of(auth, "Bearer demo.secret") == "unauthorized"


async def test_what_cannot_be_an_apps_name_is_not_looked_for() -> None:
    apps = Apps()
    auth = authenticator(apps)
    for name in ("", "A", "a b", "a/b", "x" * 65, "ä", "a\x00"):
        assert await code_of(auth, f"Bearer {name}.secret") == "unauthorized"
    assert apps.asked == []


async def test_apps_are_remembered_known_or_not() -> None:
    apps, clock = Apps(app_with_key("demo", "secret")), HandClock()
    auth = authenticator(apps, clock)
    for _ in range(3):
        await auth.app_of("Bearer demo.secret")
        await code_of(auth, "Bearer nobody.secret")
    assert apps.asked == [["demo"], ["nobody"]]


async def test_a_key_that_was_taken_away_counts_no_more_after_the_caches_time() -> None:
    apps, clock = Apps(app_with_key("demo", "secret")), HandClock()
    auth = authenticator(apps, clock)
    await auth.app_of("Bearer demo.secret")
    apps.stored["demo"] = app_with_key("demo", "another")
    clock.advance(2.0)
    assert await code_of(auth, "Bearer demo.secret") == "unauthorized"


async def test_keys_are_good_for_a_while_longer_when_the_store_is_away() -> None:
    apps, clock = Apps(app_with_key("demo", "secret")), HandClock()
    auth = authenticator(apps, clock, stale_s=30.0)
    await auth.app_of("Bearer demo.secret")
    apps.error = Unavailable("down")
    for after_s in (2.0, 15.0, 14.0):
        clock.advance(after_s)
        assert (await auth.app_of("Bearer demo.secret")).name == "demo"
        assert await code_of(auth, "Bearer demo.wrong") == "unauthorized"
    clock.advance(1.0)
    with pytest.raises(Unavailable):
        await auth.app_of("Bearer demo.secret")


async def test_a_key_that_was_never_seen_is_not_refused_for_good_while_the_store_is_away() -> None:
    apps = Apps(app_with_key("demo", "secret"))
    apps.error = Unavailable("down")
    with pytest.raises(Unavailable):
        await authenticator(apps).app_of("Bearer demo.secret")


async def test_a_store_that_hangs_is_given_up() -> None:
    apps = Apps()
    apps.gate = asyncio.Event()
    auth = authenticator(apps, timeout_s=0.01)
    with pytest.raises(DeadlineExceeded):
        await auth.app_of("Bearer demo.secret")


async def test_a_key_that_was_right_is_looked_at_again_each_time() -> None:
    """It is not hashed again; what is stored may have changed all the same."""
    apps, clock = Apps(app_with_key("demo", "secret")), HandClock()
    auth = authenticator(apps, clock)
    for _ in range(2):
        assert (await auth.app_of("Bearer demo.secret")).name == "demo"
    apps.stored["demo"] = app_with_key("demo", "other")
    clock.advance(3.0)
    assert await code_of(auth, "Bearer demo.secret") == "unauthorized"


async def test_keys_that_were_right_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("push_api.auth.REMEMBERED", 2)
    auth = authenticator(Apps(app_with_key("demo", "a", "b", "c")))
    for secret in "abcabc":
        assert (await auth.app_of(f"Bearer demo.{secret}")).name == "demo"
    assert await code_of(auth, "Bearer demo.d") == "unauthorized"
    assert len(auth._digests) <= 2
