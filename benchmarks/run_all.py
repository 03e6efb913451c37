"""`make bench`: every benchmark that needs nothing but this repository and its environment, one after the other.

benchmarks/real_suites.py stands apart: it needs repositories to run on.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = (
    "plugin_cost.py",
    "collection.py",
    "merging.py",
    "publishing.py",
    "covering.py",
    "planning.py",
    "services.py",
    "protections.py",
    "torture.py",
    "pipeline.py",
)


def startup() -> str:
    """The shortest of ten runs of `thebes --version`, in seconds."""
    code = (
        "import subprocess, sys, time\n"
        "def once():\n"
        "    began = time.perf_counter()\n"
        "    subprocess.run([sys.argv[1], '--version'], check=True, capture_output=True)\n"
        "    return time.perf_counter() - began\n"
        "print(f'thebes --version: {min(once() for _ in range(10)):.3f} s')"
    )
    command = [sys.executable, "-c", code, str(Path(sys.executable).with_name("thebes"))]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    print(startup())
    failed = []
    for name in BENCHMARKS:
        print(f"── {name} ──", flush=True)
        if subprocess.run([sys.executable, str(HERE / name)], check=False).returncode:
            failed.append(name)
        print()
    if failed:
        sys.exit(f"did not come to an end: {', '.join(failed)}")


if __name__ == "__main__":
    main()
