"""The app `demo` that `taco up` makes on its first start, and its secrets on every further one."""

import secrets
from urllib.parse import parse_qs, urlencode

from ops.apps import Secrets, new_app, opens, with_new_device_secret, with_new_key
from ops.demo_file import DemoFile
from push_core.devices.port import Devices

NAME = "demo"
PAGE_DEVICE = "web-1"  # what the page is called, if no other tab is: so that a printed curl line reaches it


async def ensure(store: Devices, known: DemoFile | None, *, now: int) -> Secrets:
    """The app's secrets: those in demo.json if they are still good, else new ones beside what the app has.

    The store keeps keys hashed, so a lost demo.json can't be made again: the app gets one more key, and the one before stays valid.
    """
    app = (await store.apps([NAME]))[0]
    if app is None:
        app, made = new_app(NAME, now=now)
        await store.put_apps([app])
        return made
    changed = app
    if known is not None and known.app == NAME and opens(app, known.key):
        key = known.key
    else:
        changed, key = with_new_key(changed)
    if app.device_secrets:
        device_secret = app.device_secrets[-1]
    else:
        changed, device_secret = with_new_device_secret(changed)
    if changed is not app:
        await store.put_apps([changed])
    return Secrets(key, device_secret)


def page_token(known: DemoFile | None) -> str:
    """The token of the demo page: the same over restarts, so that an open page keeps working."""
    token = parse_qs(known.page.partition("#")[2]).get("token", [""])[0] if known is not None else ""
    return token or secrets.token_urlsafe(24)


def page_url(api: str, token: str) -> str:
    """The page's address. The fragment stays in the browser: it is in no request and no log."""
    return f"{api}/demo#{urlencode({'token': token, 'device': PAGE_DEVICE})}"
