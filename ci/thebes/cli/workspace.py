"""What the commands share: the repository at hand, its configuration, its projects, its history."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from thebes.config import Config, GateConfig, load, parse
from thebes.discover import discover
from thebes.errors import InputError
from thebes.interpreter import Interpreter, find, probe
from thebes.judge import Policy, from_base, policy
from thebes.model import DEFAULT_GATE, Discovery
from thebes.plan import Past, ProjectInput
from thebes.repository import commit, file_at

FOLDER = ".thebes"
# What concerns the whole repository: refused in a project's own file, where nothing would read it.
ROOT_ONLY = (
    "projects",
    "max_shards",
    "max_tasks",
    "job_start",
    "price_per_minute",
    "workers",
    "task_limit",
    "history",
    "labels",
    "profiles",
    "speed_classes",
)


class Workspace:
    """The repository: the folder where a plain pytest would be started."""

    def __init__(
        self, interpreter: str | None = None, arguments: Sequence[str] = (), coverage: float | None = None
    ) -> None:
        """`coverage`: percent that gate `unit` must reach, where its configuration asks for less."""
        self.root = Path(os.path.realpath(Path.cwd()))
        self.environment = dict(os.environ)
        self.config = load(self.root)
        if coverage is not None:
            self.config = with_coverage(self.config, coverage)
        self.arguments = tuple(arguments)
        self.commit = commit(self.root)
        self._interpreter = interpreter
        self.configs = {path: self._project_config(path) for path in self.config.projects}
        self._interpreters: dict[str, Interpreter] = {}
        self._discoveries: dict[tuple[str, bool, tuple[str, ...]], Discovery] = {}

    def _project_config(self, path: str) -> Config:
        """A project's own configuration; what concerns the whole repository comes from its root."""
        if path == ".":
            return self.config
        if not (self.root / path).is_dir():
            raise InputError(f"{self.root / 'pyproject.toml'}: tool.thebes.projects: no folder {path!r}")
        own = load(self.root / path)
        root = self.config
        for key in ROOT_ONLY:
            if getattr(own, key) != getattr(Config(), key):
                name = key.replace("_", "-")
                raise InputError(f"{self.root / path / 'pyproject.toml'}: tool.thebes.{name}: counts in the root only")
        return msgspec.structs.replace(
            own,
            python=own.python or root.python,
            shards=own.shards or root.shards,
            target=own.target or root.target,
            max_shards=root.max_shards,
            max_tasks=root.max_tasks,
            job_start=root.job_start,
            price_per_minute=root.price_per_minute,
            interpreter=own.interpreter or root.interpreter,
            test_limit=own.test_limit or root.test_limit,
            collect_limit=own.collect_limit or root.collect_limit,
            memory_limit=own.memory_limit or root.memory_limit,
            task_memory_limit=own.task_memory_limit or root.task_memory_limit,
            measure_memory=own.measure_memory or root.measure_memory,
            isolate=own.isolate or root.isolate,
            leaks=own.leaks or root.leaks,
            speed_classes=root.speed_classes,
        )

    def modules(self, given: Sequence[str]) -> tuple[tuple[str, ...], frozenset[str]]:
        """What `--module` names, paths as they are called in the repository; and which of them are there."""
        if tests := [one for one in given if "::" in one]:
            raise InputError(f"--module {tests[0]}: a test, expected a file or folder; name tests after --")
        paths = [Path(one) for one in given]
        inside = [path.relative_to(self.root) if path.is_relative_to(self.root) else path for path in paths]
        names = tuple(path.as_posix() for path in inside)
        return names, frozenset(name for name in names if (self.root / name).exists())

    def interpreter(self, project: str) -> Interpreter:
        """The Python that runs a project's tests."""
        if project not in self._interpreters:
            configured = self._interpreter or self.configs[project].interpreter
            self._interpreters[project] = find(self.root / project, self.environment, configured)
        return self._interpreters[project]

    def pythons(self) -> dict[str, str]:
        """The Python of each project that has one here; a job that only merges need not."""
        found = {}
        for project in self.configs:
            with contextlib.suppress(InputError):
                found[project] = self.interpreter(project).path
        return found

    def interpreter_for(self, project: str, python: str) -> Interpreter:
        """The Python of a given version: the usual one if it is of that version, else `pythonX.Y` on PATH."""
        usual = self.interpreter(project)
        if usual.python == python:
            return usual
        key = f"{project}\0{python}"
        if key not in self._interpreters:
            found = _by_version(python)
            if found is None:
                raise InputError(
                    f"python{python}: not on PATH, or without pytest; tasks for Python {python} can't run here"
                )
            self._interpreters[key] = found
        return self._interpreters[key]

    def discovery(self, project: str, *, full: bool = False, extra: tuple[str, ...] = ()) -> Discovery:
        """The project's test files, looked for once."""
        key = (project, full, extra)
        if key not in self._discoveries:
            arguments = (*self.configs[project].args, *self.arguments, *extra)
            self._discoveries[key] = discover(
                self.root / project, self.interpreter(project), arguments, self.environment, full=full
            )
        return self._discoveries[key]

    def inputs(self, past: Mapping[str, Past], gates: Sequence[str] = ()) -> list[ProjectInput]:
        """What planning needs to know about each project.

        `past`: what past runs say, by project. `gates`: those that were chosen, all if empty.
        """
        return [self._input(path, past.get(path, Past()), gates) for path in self.configs]

    def _input(self, path: str, past: Past, gates: Sequence[str]) -> ProjectInput:
        config = self.configs[path]
        found = self.discovery(path)
        return ProjectInput(
            path=path,
            rootdir=os.path.relpath(found.rootdir, self.root),
            inipath=os.path.relpath(found.inipath, self.root) if found.inipath else None,
            config=config,
            discovery=found,
            args=(*config.args, *self.arguments),
            marked={
                gate: self.discovery(path, full=True, extra=("-m", settings.marker))
                for gate, settings in config.gates.items()
                if settings.marker and not settings.paths and (not gates or gate in gates)
            },
            **msgspec.structs.asdict(past),
        )

    def own_folder(self) -> Path:
        """`.thebes`, which git is told to leave alone."""
        folder = self.root / FOLDER
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", "utf-8")
        return folder

    def policy(self, base: str | None) -> Policy:
        """What a run is held against; `base`: the commit that a change is held against."""
        ours = policy(self.configs)
        return ours if base is None else from_base(policy(self.configs_at(base)), ours)

    def configs_at(self, base: str) -> dict[str, Config]:
        """The configuration of each project as it was at a commit."""
        text = file_at(self.root, base, "pyproject.toml")
        root = parse(text, f"{base}:pyproject.toml") if text is not None else Config()
        configs = {}
        for path in root.projects:
            name = "pyproject.toml" if path == "." else f"{path}/pyproject.toml"
            text = file_at(self.root, base, name)
            configs[path] = parse(text, f"{base}:{name}") if text is not None else Config()
        return configs


def with_coverage(config: Config, percent: float) -> Config:
    """The configuration, in which gate `unit` asks for at least so much."""
    gate = config.gates.get(DEFAULT_GATE, GateConfig())
    stricter = msgspec.structs.replace(gate, coverage=max(percent, gate.coverage or 0.0))
    return msgspec.structs.replace(config, gates={**config.gates, DEFAULT_GATE: stricter})


def _by_version(python: str) -> Interpreter | None:
    try:
        found = probe(f"python{python}", f"python{python} on PATH")
    except InputError:
        return None
    return found if found and found.python == python else None
