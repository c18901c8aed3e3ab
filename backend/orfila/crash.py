"""Named points at which a test can kill the process, in every write of several steps.

Nothing happens unless ORFILA_CRASH_POINT names the point. SIGKILL, since that is what a power cut or the kernel's
out-of-memory killer looks like: no `finally`, no flush.
"""

import os
import signal


def point(name: str) -> None:
    """Kill this process here when ORFILA_CRASH_POINT says so."""
    if os.environ.get("ORFILA_CRASH_POINT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
