"""`taco gateway rules …`: who may sign in how often, by address and user agent. Works on control itself; every gateway follows within a second
or two. A new rule is on trial: it only counts, until `enforce` puts it in force."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.control import Expect, on_control, put
from ops.commands.options import DATA, AsJson, Data
from ops.commands.output import Exit, fail, print_json, print_table
from ops.commands.stores import Store

if TYPE_CHECKING:
    from push_core.control.port import Control, Entry
    from push_gateway.guard.rules import Rule, RuleSet

SHOW = "taco gateway rules show"
group = typer.Typer(no_args_is_help=True, help="Limit or refuse devices by address and user agent, or only count them.")
Name = Annotated[str, typer.Argument(metavar="NAME")]
Change = Callable[[Sequence["Rule"]], Sequence["Rule"]]


@group.command()
def show(devices: Store = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Show the rules and their version. What each has met: metric `gateway.rules`."""
    version, known = on_control(devices, data, _read)
    _print(version, known.rules, as_json)


@group.command("set")
def set_rules(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON as `show --json` prints it; - is stdin.")],
    expect: Expect = None,
    devices: Store = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Put these rules in the place of all that there are."""
    from push_gateway.guard.rules import RuleSet

    try:
        value = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
    except OSError as error:
        fail(f"{file}: cannot be read ({error.strerror})", Exit.USAGE)
    except ValueError as error:
        fail(f"{file}: not JSON: {error}", Exit.USAGE)
    if isinstance(value, dict):
        value.pop("version", None)  # as `show --json` prints it
    try:
        rules = RuleSet.from_value(value).rules
    except ValueError as error:
        fail(f"{file}: {error}", Exit.USAGE)
    _change(lambda _: rules, expect, devices, data, as_json)


@group.command()
def add(
    name: Name,
    network: Annotated[
        list[str] | None, typer.Option("--network", metavar="NETWORK", help="As 203.0.113.0/24; may be given again.")
    ] = None,
    user_agent: Annotated[
        str | None,
        typer.Option("--user-agent", metavar="GLOB", help="As 'okhttp/3*'; \"\" is a request without one."),
    ] = None,
    limit: Annotated[
        float | None, typer.Option("--limit", metavar="RATE", help="Sign-ins a second on each node.")
    ] = None,
    burst: Annotated[float, typer.Option("--burst", help="Sign-ins at once; 0: as many as in a second.")] = 0.0,
    per_address: Annotated[
        bool, typer.Option("--per-address", help="So many for each address, not all together.")
    ] = False,
    refuse: Annotated[bool, typer.Option("--refuse", help="None at all: no upgrade.")] = False,
    note: Annotated[str, typer.Option("--note", help="Why, for whoever reads it later.")] = "",
    expect: Expect = None,
    devices: Store = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Add a rule, on trial."""
    if refuse == (limit is not None):
        fail("give one of --limit RATE and --refuse", Exit.USAGE)

    from push_gateway.guard.rules import Match, Rule

    rule = Rule(
        name=name,
        match=Match(networks=tuple(network or ()), user_agent=user_agent),
        action="refuse" if refuse else "limit",
        sign_ins_per_s=limit or 0.0,
        burst=burst,
        per="address" if per_address else "rule",
        dry_run=True,
        note=note,
    )
    _change(lambda rules: [*rules, rule], expect, devices, data, as_json)


@group.command()
def enforce(
    name: Name, expect: Expect = None, devices: Store = None, data: Data = DATA, as_json: AsJson = False
) -> None:
    """Put a rule in force that was on trial."""
    _change(_with(name, dry_run=False), expect, devices, data, as_json)


@group.command("dry-run")
def dry_run(
    name: Name, expect: Expect = None, devices: Store = None, data: Data = DATA, as_json: AsJson = False
) -> None:
    """Put a rule on trial: it counts what it would do, and does nothing."""
    _change(_with(name, dry_run=True), expect, devices, data, as_json)


@group.command()
def remove(
    name: Name, expect: Expect = None, devices: Store = None, data: Data = DATA, as_json: AsJson = False
) -> None:
    """Remove a rule."""

    def without(rules: Sequence["Rule"]) -> Sequence["Rule"]:
        _named(rules, name)
        return [rule for rule in rules if rule.name != name]

    _change(without, expect, devices, data, as_json)


@group.command("try")
def try_rules(
    address: Annotated[str, typer.Argument(metavar="ADDRESS")],
    user_agent: Annotated[str, typer.Option("--user-agent", metavar="TEXT", help="What the request says it is.")] = "",
    devices: Store = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Show which rules a request would meet."""
    from push_gateway.guard.addresses import normal

    if normal(address) is None:
        fail(f"{address!r} is not an address", Exit.USAGE)
    version, known = on_control(devices, data, _read)
    _print(version, known.of(address, user_agent), as_json)


def _with(name: str, *, dry_run: bool) -> Change:
    def changed(rules: Sequence["Rule"]) -> Sequence["Rule"]:
        import msgspec

        _named(rules, name)
        return [msgspec.structs.replace(rule, dry_run=dry_run) if rule.name == name else rule for rule in rules]

    return changed


def _named(rules: Sequence["Rule"], name: str) -> None:
    if name not in {rule.name for rule in rules}:
        fail(f"there is no rule {name}; look with `{SHOW}`")


def _change(change: Change, expect: int | None, devices: str | None, data: Path, as_json: bool) -> None:
    from push_gateway.guard.rules import CONTROL_KEY, RuleSet

    async def work(control: "Control") -> "tuple[int, Sequence[Rule]]":
        (entry,) = await control.get([CONTROL_KEY])
        try:
            rules = RuleSet(change(_of(entry).rules))
        except ValueError as error:
            fail(str(error), Exit.USAGE)
        written = await put(control, CONTROL_KEY, rules.to_value(), entry, expect, show=SHOW)
        return written.version, rules.rules

    version, rules = on_control(devices, data, work)
    _print(version, rules, as_json)


async def _read(control: "Control") -> "tuple[int, RuleSet]":
    from push_gateway.guard.rules import CONTROL_KEY

    (entry,) = await control.get([CONTROL_KEY])
    return entry.version if entry is not None else 0, _of(entry)


def _of(entry: "Entry | None") -> "RuleSet":
    from push_gateway.guard.rules import RuleSet

    try:
        return RuleSet.from_value(entry.value if entry is not None else None)
    except ValueError as error:
        fail(
            f"control holds rules that make no sense ({error}), which every gateway refuses; replace them with `taco gateway rules set`"
        )


def _print(version: int, rules: Sequence["Rule"], as_json: bool) -> None:
    import msgspec

    if as_json:
        print_json({"version": version, "rules": msgspec.to_builtins(list(rules))})
        return
    if not rules:
        print("no rules")
        return
    print_table(
        ("name", "networks", "user agent", "does", "note"),
        [
            (
                rule.name,
                list(rule.match.networks[:5]) + (["…"] if len(rule.match.networks) > 5 else []),
                "" if rule.match.user_agent is None else repr(rule.match.user_agent),
                _does(rule),
                rule.note,
            )
            for rule in rules
        ],
        title=f"version {version}",
    )


def _does(rule: "Rule") -> str:
    trial = "would " if rule.dry_run else ""
    if rule.action == "refuse":
        return f"{trial}refuse"
    burst = f", {rule.burst:g} at once" if rule.burst else ""
    return f"{trial}take {rule.sign_ins_per_s:g} a second{burst}{' of each address' if rule.per == 'address' else ''}"
