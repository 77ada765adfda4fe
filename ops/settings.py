"""Every section of a configuration file, and the settings that `taco up` starts its programs with."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.settings import DispatcherSettings
from ops.admin.settings import AdminSettings
from ops.process_settings import ProcessSettings
from push_api.settings import ApiSettings
from push_core.adapters import StoreSettings
from push_core.errors import ConfigError
from push_core.settings import check_sections, load, read_file
from push_gateway.settings import GatewaySettings

SECTIONS: dict[str, type[Any]] = {
    "stores": StoreSettings,
    "api": ApiSettings,
    "gateway": GatewaySettings,
    "dispatcher": DispatcherSettings,
    "process": ProcessSettings,
    "admin": AdminSettings,
}
DEFAULT_FILE = Path("taco.toml")


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says; None leaves it to the environment, the file and the default."""

    host: str | None = None
    api_port: int | None = None
    gateway_port: int | None = None
    grpc_port: int | None = None
    name: str | None = None
    zone: str | None = None
    roles: tuple[str, ...] | None = None
    admin_port: int | None = None


@dataclass(frozen=True, slots=True)
class AllSettings:
    stores: StoreSettings
    api: ApiSettings
    gateway: GatewaySettings
    dispatcher: DispatcherSettings
    process: ProcessSettings
    admin: AdminSettings

    def with_cluster_key(self, key: str) -> "AllSettings":
        return dataclasses.replace(self, stores=dataclasses.replace(self.stores, cluster_key=key))


def load_all(data: Path, file: Path | None, env: Mapping[str, str], overrides: Overrides) -> AllSettings:
    """`file` None: `taco.toml` here, if there is one. Stores that nobody names are files in `data`. Raises ConfigError."""
    if file is None and DEFAULT_FILE.is_file():
        file = DEFAULT_FILE
    tables = read_file(file) if file is not None else {}
    check_sections(tables, SECTIONS, str(file))
    _check_environment(env)

    def section(name: str, cls: type[Any], overrides: Mapping[str, Any]) -> Any:
        return load(cls, name, file=file, tables=tables, env=env, overrides=overrides)

    named = section("stores", StoreSettings, {})
    default = StoreSettings()
    stores = {
        port: f"sqlite:///{data / port}.sqlite"
        for port in ("messages", "devices")
        if getattr(named, port) == getattr(default, port)
    }
    named_as = {"name": overrides.name, "zone": overrides.zone}
    return AllSettings(
        stores=section("stores", StoreSettings, stores),
        api=section(
            "api",
            ApiSettings,
            {**named_as, "host": overrides.host, "port": overrides.api_port, "grpc_port": overrides.grpc_port},
        ),
        gateway=section(
            "gateway",
            GatewaySettings,
            {
                **named_as,
                "host": overrides.host,
                "port": overrides.gateway_port,
            },
        ),
        dispatcher=section("dispatcher", DispatcherSettings, {**named_as, "roles": overrides.roles}),
        process=section("process", ProcessSettings, {}),
        admin=section("admin", AdminSettings, {"port": overrides.admin_port}),
    )


def with_source(sentence: str, file: Path | None, env: Mapping[str, str]) -> str:
    """A complaint that was made after the settings were read (`[section] key: …`), and where the value that it names was set."""
    complaint = _COMPLAINT.match(sentence)
    if complaint is None:
        return sentence
    section, keys = complaint["section"], _WORD.findall(complaint["keys"])
    variables = [f"TACO_{section}_{key}".upper() for key in keys]
    if set_there := [variable for variable in variables if variable in env]:
        return f"environment: {set_there[0]}: {sentence}"
    file = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    if file is not None and section in read_file(file):
        return f"{file}: {sentence}"
    return sentence


_COMPLAINT = re.compile(r"\[(?P<section>\w+)\] (?P<keys>[^:]+): ")
_WORD = re.compile(r"\w+")
_OF_COMMANDS = {"TACO_API", "TACO_KEY", "TACO_DATA", "TACO_APP", "TACO_DEVICE_SECRET", "TACO_GATEWAY", "TACO_TOKEN"}


def _check_environment(env: Mapping[str, str]) -> None:
    """A variable of ours that nothing reads is a mistake that should not pass in silence."""
    prefixes = tuple(f"TACO_{name.upper()}_" for name in SECTIONS)
    for name in env:
        if name.startswith("TACO_") and name not in _OF_COMMANDS and not name.startswith(prefixes):
            raise ConfigError(
                f"environment: {name} is not a setting; they are called TACO_<SECTION>_<KEY>, see docs/config.md"
            )
