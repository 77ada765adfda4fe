"""Settings: one frozen dataclass a program, a line of doc a field; file or environment in, a human's error out.

    @dataclass(frozen=True, slots=True)
    class GatewaySettings:
        port: int = setting(8081, "Port for devices; 0 picks a free one.", at_least=0, at_most=65535)

    load(GatewaySettings, "gateway", file=Path("taco.toml"))

A value comes from, first found: `overrides` (the command line), the environment (`TACO_GATEWAY_PORT`), the file
(`[gateway] port = …`), the default. Unknown keys and wrong types are refused with the file or variable, the key, the reason
and, for a mistyped key, the nearest name. `docs/config.md` is made from the same fields by `describe`.
"""

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from push_core.errors import ConfigError

S = TypeVar("S")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def setting(
    default: Any,
    doc: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """A field of a settings dataclass. Types: str, int, float, bool, Path, tuple[str, ...], dict[str, tuple[str, ...]], and each `| None`.
    A `secret` never appears in a repr or in `describe`'s defaults."""
    metadata = {"doc": doc, "at_least": at_least, "at_most": at_most, "choices": choices, "secret": secret}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata, repr=not secret)
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True)
class Described:
    key: str
    env: str
    type: str
    default: str
    doc: str


def read_file(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError naming the file and the line."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None


def check_sections(tables: Mapping[str, Any], sections: Iterable[str], source: str) -> None:
    """Refuse a section that no program reads. Raises ConfigError with the nearest name."""
    known = list(sections)
    for name in tables:
        if name not in known:
            raise ConfigError(f"{source}: [{name}] is not a section{_nearest(name, known)}")


def load(
    cls: type[S],
    section: str,
    *,
    file: Path | None = None,
    tables: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> S:
    """The settings of one program from its section. `tables` takes a file that was read already. Raises ConfigError."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, cls))}
    if tables is None:
        tables = read_file(file) if file is not None else {}
    table = tables.get(section, {})
    source = str(file) if file is not None else "settings"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{source}: {section} must be a section, [{section}]")
    values: dict[str, Any] = {}
    for key, raw in table.items():
        if key not in fields:
            raise ConfigError(f"{source}: [{section}] {key} is not a setting{_nearest(key, fields)}")
        values[key] = _checked(raw, hints[key], fields[key], f"{source}: [{section}] {key}")
    prefix = f"TACO_{section.upper()}_"
    for variable, text in (env or {}).items():
        if not variable.startswith(prefix):
            continue
        key = variable.removeprefix(prefix).lower()
        if key not in fields:
            raise ConfigError(f"environment: {variable} is not a setting{_nearest(key, fields, prefix)}")
        values[key] = _checked(
            _parse(text, hints[key], fields[key], variable), hints[key], fields[key], f"environment: {variable}"
        )
    for key, value in (overrides or {}).items():
        if key not in fields:
            raise ConfigError(f"option {key} is not a setting{_nearest(key, fields)}")
        if value is not None:
            values[key] = _checked(value, hints[key], fields[key], f"option {key}")
    return cls(**values)


def describe(cls: type[Any], section: str) -> list[Described]:
    """A line for each field, in order: what `docs/config.md` shows."""
    hints = typing.get_type_hints(cls)
    lines = []
    for field in dataclasses.fields(cls):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        shown = "" if field.metadata["secret"] or default is None else str(default)
        doc = field.metadata["doc"]
        if field.metadata["choices"]:
            doc += " One of: " + ", ".join(field.metadata["choices"]) + "."
        low, high = field.metadata["at_least"], field.metadata["at_most"]
        if low is not None or high is not None:
            doc += f" ({'' if low is None else f'≥ {low}'}{', ' if low is not None and high is not None else ''}{'' if high is None else f'≤ {high}'})"
        lines.append(
            Described(
                f"{section}.{field.name}",
                f"TACO_{section.upper()}_{field.name.upper()}",
                _type_name(hints[field.name]),
                shown,
                doc,
            )
        )
    return lines


def _bare(hint: Any) -> tuple[Any, bool]:
    """The type without None, and whether None is allowed."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        arguments = [argument for argument in typing.get_args(hint) if argument is not type(None)]
        return arguments[0], True
    return hint, False


def _parse(text: str, hint: Any, field: "dataclasses.Field[Any]", variable: str) -> Any:
    bare, _ = _bare(hint)
    try:
        if bare is bool:
            if text.lower() in _TRUE | _FALSE:
                return text.lower() in _TRUE
            raise ValueError
        if bare in (int, float):
            return bare(text)
    except ValueError:
        raise ConfigError(f"environment: {variable} must be {_type_name(hint)}{_got(text, field)}") from None
    origin = typing.get_origin(bare)
    if origin is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if origin is dict:
        pairs = (part.split("=", 1) for part in text.split(";") if part.strip())
        try:
            return {key.strip(): [item.strip() for item in value.split(",")] for key, value in pairs}
        except ValueError:
            raise ConfigError(f"environment: {variable} must look like name=a,b;name=c") from None
    return text


def _checked(value: Any, hint: Any, field: "dataclasses.Field[Any]", where: str) -> Any:
    bare, _ = _bare(hint)
    origin = typing.get_origin(bare)
    got = _got(value, field)
    wrong = ConfigError(f"{where} must be {_type_name(hint)}{got}")
    if origin is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise wrong
        return tuple(value)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise wrong
        lists = {str(key): [items] if isinstance(items, str) else items for key, items in value.items()}
        if not all(
            isinstance(items, list | tuple) and all(isinstance(item, str) for item in items) for items in lists.values()
        ):
            raise wrong
        return {key: tuple(items) for key, items in lists.items()}
    if bare is Path and isinstance(value, str | Path):
        return Path(value)
    if bare is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, bare) or (bare is int and isinstance(value, bool)):
        raise wrong
    if bare is float and not math.isfinite(value):
        raise wrong
    low, high = field.metadata["at_least"], field.metadata["at_most"]
    if low is not None and value < low:
        raise ConfigError(f"{where} must be at least {low}{got}")
    if high is not None and value > high:
        raise ConfigError(f"{where} must be at most {high}{got}")
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise ConfigError(f"{where} must be one of {', '.join(choices)}{got}{_nearest(str(value), choices)}")
    return value


def _got(value: Any, field: "dataclasses.Field[Any]") -> str:
    return "" if field.metadata["secret"] else f", got {value!r}"


def _type_name(hint: Any) -> str:
    bare, optional = _bare(hint)
    names: dict[Any, str] = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        Path: "a path",
    }
    origin = typing.get_origin(bare)
    name = "a list of text" if origin is tuple else "a table of lists" if origin is dict else names.get(bare, str(bare))
    return f"{name} or nothing" if optional else name


def _nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`prefix`: that of environment variables, which are spelled in capitals."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {prefix + match[0].upper() if prefix else match[0]}?" if match else ""
