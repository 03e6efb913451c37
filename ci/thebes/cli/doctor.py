"""`thebes doctor`."""

import time
from collections.abc import Iterable

import click
import msgspec

from thebes.errors import InputError
from thebes.model import GATES, Discovery, Options, Plan
from thebes.plan import Choice, assemble
from thebes.plan.variants import variants
from thebes.run.machine import processors
from thebes.services import Context, ServiceError, label, look, services_of

from . import options
from .past import history_url, past_runs
from .plan import astray
from .text import amount, clean, lasting
from .workspace import Workspace

# What the kit makes use of when it is in the tests' environment, and for what.
HELPERS = {
    "pytest-xdist": "--workers",
    "pytest-cov": "coverage thresholds",
    "pytest-rerunfailures": "reruns of flaky tests",
}


class Finding(msgspec.Struct, frozen=True):
    """A line of the report: `kind` is found, missing or would."""

    kind: str
    topic: str
    text: str


@click.command("doctor", epilog="Example: thebes doctor --json")
@options.interpreter
@options.as_json
@options.arguments
def command(interpreter: str | None, as_json: bool, arguments: tuple[str, ...]) -> None:  # noqa: FBT001
    """Tell what was found here, what is missing, and what `thebes run` would do. Runs no test."""
    findings = list(_examine(Workspace(interpreter, arguments)))
    if as_json:
        click.echo(msgspec.json.encode({"schema": 1, "findings": findings}))
        return
    width = max(len(finding.topic) for finding in findings)
    for kind, title in (("found", "Found"), ("missing", "Missing"), ("would", "`thebes run` would")):
        lines = [finding for finding in findings if finding.kind == kind]
        if lines:
            click.echo(click.style(title, bold=True))
        for finding in lines:
            click.echo(f"  {finding.topic:{width}}  {clean(finding.text)}")


def _examine(workspace: Workspace) -> Iterable[Finding]:
    yield Finding("found", "commit", workspace.commit or "none: not a git repository, or nothing committed yet")
    for path in workspace.configs:
        began = time.monotonic()
        discovery = workspace.discovery(path)
        yield from _project(workspace, path, discovery, time.monotonic() - began)
        yield from _services(workspace, path)
    runs = past_runs(workspace, None)
    known = max((len(past.runs) for past in runs.values()), default=0)
    where = history_url(workspace)
    if known:
        yield Finding("found", "history", f"{amount(known, 'past run')} in {where}")
    else:
        yield Finding("missing", "history", "no past run: every file is taken to be equally long; each run adds to it")
    inputs = workspace.inputs(runs)
    for project in inputs:
        yield from (Finding("missing", project.path, note) for note in astray(project))
    choice = Choice(shards=workspace.config.shards or processors(), pythons=_here(workspace), alike=True)
    plan = assemble(inputs, choice, workspace.commit)
    yield from _would(plan)


def _here(workspace: Workspace) -> tuple[str, ...]:
    return (workspace.interpreter(next(iter(workspace.configs))).python,)


def _project(workspace: Workspace, path: str, discovery: Discovery, took: float) -> Iterable[Finding]:
    chosen = workspace.interpreter(path)
    name = "project" if path == "." else path
    yield Finding("found", "python", f"{chosen.python} at {chosen.path} ({chosen.why}), pytest {chosen.pytest}")
    files = f"{amount(len(discovery.files), 'test file')} in {lasting(took)}"
    how = "by one full collection" if discovery.collected else "without importing one"
    yield Finding("found", name, f"{files} {how}; ini file {discovery.inipath or 'none'}")
    for note in discovery.notes:
        yield Finding("found", name, note)
    for plugin, purpose in HELPERS.items():
        if plugin in discovery.plugins:
            yield Finding("found", plugin, discovery.plugins[plugin])
        else:
            yield Finding("missing", plugin, f"not installed; only {purpose} need it")
    yield from (Finding("found", "addopts", text) for text in effects(discovery.options))


def _services(workspace: Workspace, path: str) -> Iterable[Finding]:
    """What would serve each service of a project's gates; nothing is started."""
    config = workspace.configs[path]
    known = services_of(config)
    context = Context(workspace.root / path, workspace.root, workspace.environment, "doctor", lambda _: None)
    wanted: dict[tuple[str, str], list[str]] = {}
    for gate, settings in config.gates.items():
        for variant in variants(("3",), settings):
            for named in variant.services.items():
                wanted.setdefault(named, []).append(gate)
    for (name, version), gates in wanted.items():
        what = f"gate {', '.join(dict.fromkeys(gates))}"
        try:
            yield Finding("found", label(known[name], version), f"{look(known[name], version, context)} for {what}")
        except (ServiceError, InputError) as error:
            yield Finding("missing", label(known[name], version), f"{what} would be INVALID: {error}")


def effects(found: Options) -> Iterable[str]:
    """What the project's own options mean for its shards; the whole table is in docs/configuration.md."""
    if found.workers:
        yield f"-n {found.workers}: each shard starts so many workers; --workers wins over it"
    if found.dist in {"loadfile", "loadscope", "loadgroup"}:
        yield f"--dist {found.dist}: honoured, but a worker that crashes may take other tests with it; load is safer"
    if found.coverage:
        yield "--cov: measured in each shard, reported and judged once, merged"
    if found.fail_under:
        yield f"--cov-fail-under {found.fail_under:g}: held against the merged total"
    if found.marker:
        yield f"-m {found.marker!r}: what it leaves out is listed as deselected"
    if found.keyword:
        yield f"-k {found.keyword!r}: what it leaves out is listed as deselected"
    if found.maxfail:
        yield f"--maxfail {found.maxfail}: not honoured, a shard knows only its own failures; use thebes run --maxfail"
    if found.reruns:
        yield f"--reruns {found.reruns}: honoured, every attempt is kept and a test that needs one is called flaky"


def _would(plan: Plan) -> Iterable[Finding]:
    for suite in plan.suites:
        tasks = [task for task in plan.tasks if task.suite == suite.id]
        files = len({piece.file for task in tasks for piece in task.pieces})
        checks = sum(not task.pieces for task in tasks)
        what = f"{amount(len(tasks) - checks, 'shard')} of {amount(files, 'file')}"
        yield Finding("would", suite.gate, what + (f", {amount(checks, 'check')}" if checks else ""))
    absent = [gate for gate in GATES if gate not in {suite.gate for suite in plan.suites}]
    if absent:
        yield Finding("would", "absent", f"nothing is configured or found for {', '.join(absent)}")
