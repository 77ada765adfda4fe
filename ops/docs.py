"""Documents made from the code, so that they can't disagree with it: `python -m ops.docs` writes them, a test holds them equal.

config.md from the settings' fields, errors.md from the codes and reasons, metrics.md from the catalogue, states.md from the state table,
alarms.md and the rules for Prometheus from the alarms.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path

from ops.alarms import ALARMS, RULES, rules
from ops.settings import SECTIONS
from push_core.errors import CODES
from push_core.lifecycle import ENDS, RANK, Reason, State, may_move
from push_core.metrics.catalogue import Metric
from push_core.settings import describe
from sdk_proto.wire.close import CloseCode, Order, order_of

FOLDER = Path(__file__).resolve().parent.parent / "docs"
_MADE = "<!-- Made from the code by `make docs`; edits here are lost. -->\n"

_ORDERS = {
    Order.RECONNECT: "reconnects with backoff, not before `retry_after_ms`",
    Order.ELSEWHERE: "reconnects to another address",
    Order.NEW_TOKEN: "gets a new token, then reconnects",
    Order.STOP: "stops and tells the application",
}

_CONFIG = """\
# Settings

A value comes from, first found: the command line (`taco up --help`), the environment, the file (`--config FILE`, or `taco.toml` in the folder
where Taco is started), the default. Unknown names and wrong types are refused at the start: one sentence, exit status 2.

```toml
[api]
port = 8080

[gateway]
port = 8081

[stores]
metrics = "memory://"
```

In the environment a list is written `a,b` and a table of lists `name=a,b;other=c`. Under `taco up` stores that are not named are files in its
data folder, and the cluster key is the one in `cluster.key` there.
"""

_ERRORS = """\
# Errors

## Push API

Body: `{{"error":{{"code":"…","message":"…","field":"…","retry":true}}}}`. 202 means durable. 4xx means not accepted. 500, 503 or no answer means
unknown: repeat with the same idempotency key.

{codes}
## Close codes of the device protocol

The range is the order; a code that is not listed, or none, means reconnect with backoff.

{closes}
## Reasons of a delivery

Shown as `reason` beside the state.

{reasons}"""

_METRICS = """\
# Metrics

Tags take few values: an app's name at most, never a device or an id.

{metrics}"""

_ALARMS = """\
# Alarms

`page`: somebody is woken, because messages are late or refused. `ticket`: looked at in the morning. For Prometheus:
[ops/sop/alarms.rules.yml](../ops/sop/alarms.rules.yml), made from the same list; each process is scraped at its admin port with
`metrics = "prometheus://"` under `[stores]`. They are for programs of their own (`taco api`, `taco gateway`, `taco dispatcher`).

{alarms}"""

_STATES = """\
# States of a delivery

A rank never falls; an end is entered from rank 0 only, and never left. Every change in every store goes by this table
(`push_core/lifecycle.py`).

```mermaid
{diagram}
```

{states}"""


def config() -> str:
    sections = []
    for section, cls in SECTIONS.items():
        rows = [
            (f"`{line.key}`", f"`{line.env}`", line.type, f"`{line.default}`" if line.default else "", line.doc)
            for line in describe(cls, section)
        ]
        sections.append(
            f"## [{section}]\n\n{table(('setting', 'environment', 'type', 'default', 'what it does'), rows)}"
        )
    return "\n".join([_CONFIG, *sections])


def errors() -> str:
    codes = sorted(
        (code.status, f"`{name}`", "yes" if code.retry else "no", code.meaning, code.remedy)
        for name, code in CODES.items()
    )
    closes = [(int(code), code.name.lower().replace("_", " "), _ORDERS[order_of(code)]) for code in CloseCode]
    reasons = [(f"`{reason}`", comments_of(Reason)[reason.name]) for reason in Reason]
    return _ERRORS.format(
        codes=table(("status", "code", "a repeat can help", "means", "what to do"), codes),
        closes=table(("code", "name", "the client"), closes),
        reasons=table(("reason", "means"), reasons),
    )


def metrics() -> str:
    rows = [
        (
            f"`{metric.value}`",
            metric.meaning.kind,
            ", ".join(f"`{tag}`" for tag in metric.meaning.tags),
            metric.meaning.text,
        )
        for metric in Metric
    ]
    return _METRICS.format(metrics=table(("name", "kind", "tags", "what it says"), rows))


def alarms() -> str:
    rows = [
        (
            f"`{alarm.name}`",
            alarm.severity,
            alarm.when,
            f"{alarm.for_s} s" if alarm.for_s else "at once",
            ", ".join(f"`{metric.value}`" for metric in alarm.metrics),
            f"[{alarm.runbook}](../ops/sop/{alarm.runbook})",
        )
        for alarm in ALARMS
    ]
    return _ALARMS.format(alarms=table(("alarm", "severity", "when", "for", "metrics", "runbook"), rows))


def states() -> str:
    rows = [
        (f"`{a}`", "end" if a in ENDS else RANK[a], ", ".join(f"`{b}`" for b in State if may_move(a, b)) or "–")
        for a in State
    ]
    return _STATES.format(diagram=state_diagram(), states=table(("state", "rank", "moves to"), rows))


def state_diagram() -> str:
    """The table as a Mermaid diagram. The open states move among each other freely and share their ways out, so one arrow stands for all."""
    among = [state for state in State if RANK[state] == 0]
    further = [state for state in State if RANK[state] != 0]
    lines = [
        "stateDiagram-v2",
        "    [*] --> accepted",
        "    state open {",
        *(f"        {state}" for state in among),
        "    }",
    ]
    lines += [f"    open --> {to}" for to in further if all(may_move(state, to) for state in among)]
    lines += [f"    {state} --> {to}" for state in further for to in further if may_move(state, to)]
    lines += [f"    {state} --> [*]" for state in State if state in ENDS]
    return "\n".join(lines)


DOCUMENTS: dict[str, Callable[[], str]] = {
    "alarms.md": alarms,
    "config.md": config,
    "errors.md": errors,
    "metrics.md": metrics,
    "states.md": states,
}


def render() -> dict[str, str]:
    """File name to text; names are relative to docs/."""
    documents = {name: _MADE + make().rstrip() + "\n" for name, make in DOCUMENTS.items()}
    return {**documents, f"../{RULES}": rules()}


def write(folder: Path) -> list[Path]:
    """Write what differs; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in render().items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.append(path)
    return written


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def comments_of(cls: type[Enum]) -> dict[str, str]:
    """What the comment behind each member of an enum says. Raises ValueError for a member without one."""
    found = dict(re.findall(r"^    ([A-Z_]+) = [^#\n]+#\s*(.+)$", inspect.getsource(cls), re.MULTILINE))
    missing = [name for name in cls.__members__ if name not in found]
    if missing:
        raise ValueError(f"{cls.__name__}: no comment says what {', '.join(missing)} means")
    return found


if __name__ == "__main__":
    changed = write(FOLDER)
    print(
        "\n".join(f"wrote {path.resolve().relative_to(FOLDER.parent)}" for path in changed)
        or "the documents are up to date",
        file=sys.stderr,
    )
