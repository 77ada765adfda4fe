"""Running Taco: the command line, all three programs in one process, the demo, documents made from the code, runbooks."""

import sys

__version__ = "0.1.0"

if sys.version_info < (3, 11):  # noqa: UP036 - said here, before a newer syntax says it worse
    sys.exit(f"taco: Taco needs Python 3.11, 3.12 or 3.13; this is {sys.version_info[0]}.{sys.version_info[1]}")
