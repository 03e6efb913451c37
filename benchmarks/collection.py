"""Collection over 8 shards of networkx's own suite: processor time of all shards, beside pytest-split.

The floor is one full collection and 7 times the cost of a file: what 8 shards must at least pay together.
Usage: python benchmarks/collection.py [--launches N].
"""

import argparse
import json
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from _measure import measure

from thebes.discover import PLUGIN, PLUGIN_ARGUMENTS

SHARDS = 8


def networkx(scratch: Path) -> Path:
    """A copy of the installed package, with a root of its own: where it is installed, pytest would find ours."""
    found = find_spec("networkx")
    if not found or not found.origin:
        raise SystemExit("networkx is not installed; `make bench` sets everything up")
    folder = scratch / "suite"
    shutil.copytree(Path(found.origin).parent, folder / "networkx")
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    return folder


def shard_commands(folder: Path, scratch: Path) -> list[list[str]]:
    """The command of each shard, as `thebes task` starts it, with `--collect-only`."""
    plan = scratch / "plan.json"
    tool = [sys.executable, "-m", "thebes"]
    planning = [
        *tool,
        "plan",
        "--shards",
        str(SHARDS),
        "--interpreter",
        sys.executable,
        "--out",
        str(plan),
        "--history",
    ]
    measure([*planning, str(scratch / "history.db"), "--", "-p", "no:cacheprovider"], folder=str(folder))
    tasks = json.loads(plan.read_bytes())["tasks"]
    files = [piece["file"] for task in tasks for piece in task["pieces"]]
    (project,) = json.loads(plan.read_bytes())["projects"]
    commands = []
    for task in tasks:
        instructions = {
            "record": str(scratch / f"{task['id']}.jsonl"),
            "project": str(folder),
            "rootdir": str((folder / project["rootdir"]).resolve()),
            "inipath": str((folder / project["inipath"]).resolve()) if project["inipath"] else None,
            "gate": "unit",
            "default_gate": "unit",
            "claims": {},
            "together": [],
            "marker": None,
            "maxfail": None,
            "index": task["index"] - 1,
            "of": task["of"],
            "known": files,
            "whole": [piece["file"] for piece in task["pieces"]],
            "cut": {},
        }
        path = scratch / f"{task['id']}.json"
        path.write_text(json.dumps(instructions), "utf-8")
        shard = [sys.executable, str(PLUGIN), *PLUGIN_ARGUMENTS, f"--thebes-shard={path}"]
        commands.append([*shard, "--collect-only", "-q", "-p", "no:cacheprovider"])
    return commands


def total(commands: list[list[str]], folder: Path) -> float:
    return sum(measure(command, folder=str(folder)).cpu for command in commands)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=3)
    launches = parser.parse_args().launches
    plain = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = networkx(Path(scratch).resolve())
        ours = shard_commands(folder, Path(scratch))
        peer = [[*plain, "--splits", str(SHARDS), "--group", str(group)] for group in range(1, SHARDS + 1)]
        single = [*plain, "networkx/classes/tests/test_function.py"]
        figures: dict[str, list[float]] = {"full": [], "one file": [], "thebes": [], "pytest-split": []}
        for _ in range(launches):
            figures["full"].append(measure(plain, folder=str(folder)).cpu)
            figures["one file"].append(measure(single, folder=str(folder)).cpu)
            figures["thebes"].append(total(ours, folder))
            figures["pytest-split"].append(total(peer, folder))
    best = {name: min(values) for name, values in figures.items()}
    floor = best["full"] + (SHARDS - 1) * best["one file"]
    print(f"networkx, {SHARDS} shards, CPU seconds of collection, minimum of {launches} interleaved launches\n")
    print(f"{'one full collection':24} {best['full']:7.2f}\n{'one file':24} {best['one file']:7.2f}")
    for name, value in (("floor", floor), ("thebes", best["thebes"]), ("pytest-split", best["pytest-split"])):
        print(f"{name:24} {value:7.2f}   {value / floor:6.3f} × floor")


if __name__ == "__main__":
    main()
