"""Run pytest as `python -m pytest` would, with this plug-in importable, and die with the parent process.

Run as a script: `python …/thebes_plugin [pytest arguments]`. The folder goes to the end of the search path, where
it can hide nothing of the user's; xdist hands that path on to its workers.
"""

import os
import sys
from pathlib import Path


def die_with_parent(parent: int) -> None:
    """Linux: have the kernel kill this process when the one that waits for it is gone."""
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415
    import signal  # noqa: PLC0415

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def allow_tracing() -> None:
    """Linux: let any process of this user look into this one, as a profiler beside it must (Yama, ptrace_scope 1)."""
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415

    set_ptracer, anyone = 0x59616D61, ctypes.c_ulong(-1)  # PR_SET_PTRACER, linux/prctl.h
    ctypes.CDLL(None).prctl(set_ptracer, anyone)


def main() -> None:
    import runpy  # noqa: PLC0415

    if os.environ.get("THEBES_TRACED"):
        allow_tracing()
    if parent := os.environ.pop("THEBES_PARENT", ""):
        die_with_parent(int(parent))
    sys.path[0] = str(Path.cwd())
    sys.path.append(str(Path(__file__).parent.parent))
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
