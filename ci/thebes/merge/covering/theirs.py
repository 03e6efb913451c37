"""Combines and analyses coverage data. Runs in the user's Python, for its plug-ins and its version of coverage.py are
what the data was made with; so it needs the standard library and `coverage` alone, and is run by path.

    python theirs.py INSTRUCTIONS [PART]

INSTRUCTIONS is a JSON file: `data`, the data file to make; `scratch`, a folder; `suites`, pairs of a suite's number
and its data files; `repository`; `elsewhere`, where other machines had it; `ours`, folders whose sources don't count;
`changed`, line ranges by path (null: not asked); `parts`, how many processes may work. The current folder is the
project, whose configuration counts. Each source is parsed once. Leaves `scratch`/part-N.jsonl: a line for each source,
the last `{"end": null or why not}`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import coverage
from coverage.exceptions import CoverageException, NoDataError

# coverage before 7.5 has it in `report`.
_core = import_module("coverage.report_core" if find_spec("coverage.report_core") else "coverage.report")

SINGLE = 60  # sources that are not worth another process
LONG = 200_000  # characters of a source that are still handed on for showing


def main() -> None:
    sys.path[0] = str(Path.cwd())  # where `python -m coverage` finds the project's own plug-ins
    told = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    part = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    others: list[subprocess.Popen[bytes]] = []
    with Path(told["scratch"], f"part-{part}.jsonl").open("w", encoding="utf-8") as out:
        try:
            if not part:
                combine(told)
            ours = tuple(folder.rstrip(os.sep) + os.sep for folder in told["ours"])
            every = loaded(told["data"]).get_data().measured_files()
            measured = sorted(file for file in every if not file.startswith(ours))
            parts = told["parts"] if len(measured) > SINGLE else 1
            if not part:
                command = [sys.executable, __file__, sys.argv[1]]
                others = [subprocess.Popen([*command, str(number)]) for number in range(1, parts)]
            found = analyses(told, measured[part::parts])
            out.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in found)
            end = None
        except (CoverageException, OSError, SyntaxError, ValueError) as error:
            end = str(error) or type(error).__name__
        out.write(json.dumps({"end": end, "parts": len(others) + 1}) + "\n")
    for other in others:
        other.wait()


def loaded(path: str) -> coverage.Coverage:
    known = coverage.Coverage(data_file=path)
    known.load()
    return known


def combine(told: dict[str, Any]) -> None:
    """The data of every suite in a file of its own, and all of them in `data`."""
    made = []
    for number, files in told["suites"]:
        for file in files:
            if not Path(file).stat().st_size:
                raise CoverageException(f"{file}: an empty file")
            coverage.CoverageData(file).read()  # or coverage would warn, and go on without it
        made.append(suite_data(told, number))
        combined(told, made[-1], files)
    combined(told, told["data"], made)


def suite_data(told: dict[str, Any], number: int) -> str:
    return str(Path(told["scratch"], f"suite-{number}"))


def combined(told: dict[str, Any], path: str, files: Sequence[str]) -> None:
    known = coverage.Coverage(data_file=path)
    paths: Any = known.get_option("paths")
    aliases = {"thebes": [told["repository"], *told["elsewhere"]]} if told["elsewhere"] else {}
    known.set_option("paths", {**paths, **aliases})
    known.combine(files, strict=True, keep=True)
    known.save()


def analyses(told: dict[str, Any], measured: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One value for each source that the project's configuration does not leave out."""
    if not measured:
        return
    known = loaded(told["data"])
    parts = {number: loaded(suite_data(told, number)).get_data() for number, _ in told["suites"]}
    held = {number: set(data.measured_files()) for number, data in parts.items()}
    data = known.get_data()
    contexts = bool(known.get_option("json:show_contexts") or known.get_option("html:show_contexts"))
    try:
        for reporter, analysis in _core.get_analysis_to_report(known, measured):
            name = analysis.filename
            suites = [(number, part) for number, part in parts.items() if name in held[number]]
            line = described(reporter, analysis, name, suites)
            path = os.path.relpath(reporter.filename, told["repository"])
            line["file"] = reporter.filename if path.startswith("..") else path
            if told["changed"] is not None:
                line["changed"] = changed(reporter, analysis, told["changed"].get(path, []))
            if contexts:
                line["contexts"] = labels(data, name)
            yield line
    except NoDataError:
        return  # all of these are omitted


def described(reporter: Any, analysis: Any, name: str, suites: Sequence[tuple[int, Any]]) -> dict[str, Any]:
    """Statements and branches of a source, each with the set of the suites that executed it."""
    sets = Sets()
    statements = sorted(analysis.statements)
    lines = [(number, reporter.translate_lines(data.lines(name) or [])) for number, data in suites]
    covers = [sets.number(tuple(number for number, ran in lines if line in ran)) for line in statements]
    arcs, exits = branches(reporter, analysis, name, suites, sets) if analysis.has_arcs else ([], {})
    source = reporter.source()
    total = analysis.numbers
    return {
        "measured": [number for number, _ in suites],
        "sets": sets.made,
        "statements": statements,
        "covers": covers,
        "excluded": sorted(analysis.excluded),
        "exits": exits,
        "arcs": arcs,
        "functions": functions(reporter),
        "source": source if len(source) <= LONG else "",
        "total": [total.n_statements, total.n_executed, total.n_branches, total.n_executed_branches],
    }


def branches(
    reporter: Any, analysis: Any, name: str, suites: Sequence[tuple[int, Any]], sets: "Sets"
) -> tuple[list[list[int]], dict[int, int]]:
    """Possible ways out of lines with several, as [from, to, set]; and how many each line has."""
    exits = {line: count for line, count in reporter.exit_counts().items() if count > 1}
    blunt = reporter.no_branch_lines()
    possible = reporter.arcs()
    single: dict[int, int | None] = {}
    for begin, end in possible:
        single[begin] = None if begin in single else end
    taken = [(number, executed(reporter, data.arcs(name) or [], single)) for number, data in suites]
    made = []
    for arc in sorted(possible):
        if arc[0] not in exits:
            continue
        by = tuple(number for number, arcs in taken if arc in arcs)
        if by or (arc[0] not in blunt and arc[1] not in analysis.excluded):
            made.append([*arc, sets.number(by)])
    return made, exits


def executed(reporter: Any, arcs: Iterable[tuple[int, int]], single: dict[int, int | None]) -> set[tuple[int, int]]:
    """The arcs between statements that these arcs between lines amount to, as coverage.py counts them."""
    moved = set()
    for begin, end in reporter.translate_arcs(arcs):
        if begin != end:
            moved.add((begin, end))
        elif (only := single.get(begin)) is not None:
            moved.add((begin, only))
    return set(reporter.translate_arcs(moved))


def changed(reporter: Any, analysis: Any, ranges: Iterable[Sequence[int]]) -> list[int]:
    """The statements that changed lines belong to."""
    lines = {line for first, last in ranges for line in range(first, last + 1)}
    return sorted(set(reporter.translate_lines(lines)) & analysis.statements)


def functions(reporter: Any) -> list[tuple[int, int, str]]:
    """First and last line and name of each function, where this coverage.py tells (7.6 and newer)."""
    if not hasattr(reporter, "code_regions"):
        return []
    regions = [region for region in reporter.code_regions() if region.kind == "function" and region.lines]
    return sorted((min(one.start, *one.lines), max(one.lines), one.name) for one in regions)


def labels(data: Any, name: str) -> dict[int, list[str]]:
    """Contexts by line; lines that only the empty context has are left out."""
    found = data.contexts_by_lineno(name)
    named = {line: sorted(filter(None, contexts)) for line, contexts in found.items()}
    return {line: contexts for line, contexts in named.items() if contexts}


class Sets:
    """Numbers sets of suites, so that each is written once."""

    def __init__(self) -> None:
        self.made: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}

    def number(self, suites: tuple[int, ...]) -> int:
        if suites not in self._numbers:
            self._numbers[suites] = len(self.made)
            self.made.append(suites)
        return self._numbers[suites]


if __name__ == "__main__":
    main()
