"""The three programs as processes: which ports each opens, where each says it is, and which settings make no sense for one of several
processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dispatcher.app import Dispatcher
from ops.admin.drain import drain_actions, drain_pages
from ops.demo_page import DemoPage, WithPage, read_page_of
from ops.local import from_here
from ops.program import Made, Plan, Where
from ops.settings import AllSettings
from push_api.app import PushApi
from push_core.adapters import ApiPorts, GatewayPorts, Ports, StoreSettings
from push_core.clock import Clock
from push_core.dsn import Dsn
from push_core.errors import ConfigError
from push_gateway.app import Gateway

API, GATEWAY, DISPATCHER = "api", "gateway", "dispatcher"

# What several processes must share, with an example for whoever has not set it. Messages and devices may be files: processes of one
# machine share those.
_SHARED = {
    "presence": ("routes of devices", "redis://HOST/0"),
    "queues": ("batches on their way", "amqp://USER:PASSWORD@HOST/"),
}
_ALONE = {"memory", "inproc"}


def api(settings: AllSettings, data: Path | None, demo: Path | None = None) -> Plan[ApiPorts]:
    """`demo`: with the demo page for the app in that folder's demo.json. Raises ConfigError if there is none."""
    _check_shared(settings.stores, "presence", "queues")
    page_of = read_page_of(demo) if demo is not None else None

    def make(ports: ApiPorts, clock: Clock) -> Made:
        page = DemoPage(page_of, clock) if page_of is not None else None
        program = PushApi(settings.api, ports, clock, extra_routes=page.routes if page is not None else ())

        def where() -> Where:
            return Where(_ports(http=program.url, grpc=program.grpc_address or ""), program.url)

        if page is None:
            return Made(program, where)
        return Made(WithPage(program, page, lambda: from_here(program.url)), where)

    own = settings.api
    return Plan(API, own.name, own.zone, ApiPorts, make, settings.stores, settings.process, settings.admin, data)


def gateway(settings: AllSettings, data: Path | None) -> Plan[GatewayPorts]:
    _check_shared(settings.stores, "presence")
    _check_advertised(settings.stores)

    def make(ports: GatewayPorts, clock: Clock) -> Made:
        program = Gateway(settings.gateway, ports, clock)

        def where() -> Where:
            return Where(_ports(ws=program.url, rpc=program.address), program.url)

        return Made(
            program,
            where,
            drain_pages(program.drain),
            drain_actions(program.drain),
            reload=program.reload if settings.gateway.tls_cert is not None else None,
        )

    own = settings.gateway
    return Plan(
        GATEWAY, own.name, own.zone, GatewayPorts, make, settings.stores, settings.process, settings.admin, data
    )


def dispatcher(settings: AllSettings, data: Path | None) -> Plan[Ports]:
    _check_shared(settings.stores, "presence", "queues")
    _check_advertised(settings.stores)

    def make(ports: Ports, clock: Clock) -> Made:
        program = Dispatcher(settings.dispatcher, ports, clock)

        def where() -> Where:
            return Where(_ports(rpc=program.address))

        return Made(program, where)

    own = settings.dispatcher
    return Plan(DISPATCHER, own.name, own.zone, Ports, make, settings.stores, settings.process, settings.admin, data)


PLANS: dict[str, Callable[..., Plan[Any]]] = {API: api, GATEWAY: gateway, DISPATCHER: dispatcher}


def _check_shared(stores: StoreSettings, *ports: str) -> None:
    """Raises ConfigError for a store that lives inside one process: the others would wait for ever for what is in it."""
    for port in (*ports, "rpc"):
        dsn = str(getattr(stores, port))
        scheme = dsn.partition("://")[0]
        if scheme not in _ALONE:
            continue
        if port == "rpc":
            raise ConfigError(
                f"[stores] rpc: {dsn} reaches only the process itself; programs of their own need grpc://HOST:PORT"
            )
        holds, example = _SHARED[port]
        raise ConfigError(
            f"[stores] {port}: {Dsn.hide_password(dsn)} lives inside one process, and programs of their own share the {holds}: set it to the "
            f"same for all of them, such as {example} (`taco up` runs all in one process)"
        )


def _check_advertised(stores: StoreSettings) -> None:
    """Raises ConfigError for a listener whose address tells peers nothing: they are given it through presence."""
    dsn = Dsn.parse(stores.rpc, "[stores] rpc", ("grpc",))
    if dsn.url.hostname in ("0.0.0.0", "::") and not dsn.options.get("advertise"):  # noqa: S104 - refused
        raise ConfigError(
            f"[stores] rpc: {stores.rpc} listens on every address, and peers must be told one: add ?advertise=HOST, a name or address by which "
            "they reach this machine"
        )


def _ports(**addresses: str) -> dict[str, int]:
    """The port numbers of addresses and URLs; what is "" is left out.

    >>> _ports(ws="ws://[::1]:8081/v1/connect", rpc="127.0.0.1:4000", grpc="")
    {'ws': 8081, 'rpc': 4000}
    """
    found = {}
    for name, address in addresses.items():
        if address:
            host = address.partition("://")[2] or address
            found[name] = int(host.partition("/")[0].rpartition(":")[2])
    return found
