"""Children that end with us, however we end."""

import shutil


def dies_with_parent() -> tuple[str, ...]:
    """What to put before a command so that the kernel kills it (SIGKILL) when the *thread* that starts it ends (prctl(2),
    PR_SET_PDEATHSIG): start children from a thread that lives as long as the process. It replaces itself by the command, which so keeps
    its process id. Nothing where there is no setpriv(1): such a child lives on."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
