"""A process with a watchdog, for a test that stops it: says "ready", then what it counted, as JSON lines."""

import asyncio
import json
import sys

from ops import logs
from ops.admin.watchdog import Watchdog


async def main() -> None:
    logs.configure(as_json=True)
    watchdog = Watchdog(held_s=0.1, every_s=1.0)
    watchdog.start()
    print(json.dumps("ready"), flush=True)
    held = not_run = 0
    while not_run == 0 and held == 0:
        await asyncio.sleep(0.02)
        more = watchdog.take()
        held, not_run = held + more[0], not_run + more[1]
    watchdog.stop()
    print(json.dumps({"held": held, "not_run": not_run, "holds": len(watchdog.holds)}), flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
