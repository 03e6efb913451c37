"""What Ansible wrote for this host, read into frozen values.

`/etc/thebes-runner/runner.json` belongs to the role `runner`; `watchdog.json`, `maintenance.json`
and `observability.json` to the roles of those names. Keys are strict: an unknown or missing key
stops the program, because a misspelt limit must never mean "no limit".
"""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
from pathlib import Path
from typing import Any, TypeVar

from thebes_runner.errors import SettingsError

# The tests point this at a directory of their own.
CONFIG_DIR = Path(os.environ.get("THEBES_RUNNER_CONFIG", "/etc/thebes-runner"))
STATE_DIR = Path(os.environ.get("THEBES_RUNNER_STATE", "/var/lib/thebes-runner"))
RUNTIME_DIR = Path("/run/user")
RUN_DIR = Path(os.environ.get("THEBES_RUNNER_RUN", "/run/thebes-runner"))
LOG_DIR = Path(os.environ.get("THEBES_RUNNER_LOG", "/var/log/thebes-runner"))

Shape = TypeVar("Shape")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GitHub:
    """Where runners are registered and how the host signs in there."""

    url: str
    scope: str  # repository, organization or enterprise
    target: str  # owner/name, organization or enterprise slug
    group: str
    auth: str  # app, token, or none when the controller holds the credentials
    app_id: str
    installation_id: str
    key_file: str
    token_file: str
    allow_public: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Controller:
    """What a controller that keeps the credentials is given on its standard input."""

    github: GitHub
    secret: str  # the App's private key, or the token, itself: its file may be a vault


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instance:
    """One runner of the host: its own user, directory, Docker daemon and slice."""

    name: str
    user: str
    directory: str

    @property
    def uid(self) -> int:
        try:
            return pwd.getpwnam(self.user).pw_uid
        except KeyError:
            raise SettingsError(f"user {self.user} of runner {self.name} does not exist: run site.yml again") from None

    @property
    def runner_dir(self) -> Path:
        return Path(self.directory, "runner")

    @property
    def docker_socket(self) -> Path:
        return self.runtime_dir / "docker.sock"

    @property
    def runtime_dir(self) -> Path:
        return RUNTIME_DIR / str(self.uid)

    @property
    def supervisor_unit(self) -> str:
        return f"thebes-runner@{self.name}.service"

    @property
    def job_unit(self) -> str:
        return f"thebes-job@{self.name}.service"

    @property
    def user_unit(self) -> str:
        return f"user@{self.uid}.service"

    @property
    def runtime_unit(self) -> str:
        """Makes and deletes `runtime_dir`."""
        return f"user-runtime-dir@{self.uid}.service"

    @property
    def state_dir(self) -> Path:
        return STATE_DIR / self.name

    @property
    def run_dir(self) -> Path:
        return RUN_DIR / self.name

    @property
    def log_dir(self) -> Path:
        return LOG_DIR / self.name

    @property
    def drain_file(self) -> Path:
        return self.state_dir / "drain"

    @property
    def state_file(self) -> Path:
        """The supervisor's, for the time after a restart of the host; see notes.py."""
        return self.state_dir / "state.json"

    @property
    def live_state_file(self) -> Path:
        """The same in memory; read by health, metrics and drain."""
        return self.run_dir / "state.json"

    @property
    def prepared_file(self) -> Path:
        """A one-time configuration that the controller handed over."""
        return self.state_dir / "prepared.json"

    @property
    def job_file(self) -> Path:
        """The watchdog's, as long as a job lasts."""
        return self.run_dir / "job.json"

    @property
    def noted_file(self) -> Path:
        """The watchdog's word to the job that it is noted (noted.py), in a folder that is root's: the job can
        read it, and not make it. Deleted with everything else when the runner is cleaned."""
        return Path(self.directory, "job.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runner:
    """runner.json: everything that the supervisor needs."""

    github: GitHub
    instances: tuple[Instance, ...]
    name_prefix: str
    labels: tuple[str, ...]
    ephemeral: bool
    version: str
    install_dir: str  # the unpacked release, shared by all instances, owned by root
    docker_mode: str  # rootless, rootful or none
    docker_keep_images: bool
    docker_start_seconds: int
    disk_min_mib: int
    registration_check_seconds: float
    backoff_seconds: float
    backoff_max_seconds: float
    diagnostics_max_mib: int
    blocked_addresses: tuple[str, ...]

    def instance(self, name: str) -> Instance:
        for instance in self.instances:
            if instance.name == name:
                return instance
        known = ", ".join(i.name for i in self.instances) or "none"
        raise SettingsError(f"no runner called {name!r} on this host; known: {known}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watchdog:
    """watchdog.json. All times in seconds."""

    interval: float
    job_limit: float  # age of the job at which its steps are interrupted
    upload_grace: float  # what the job may still use for clean-up and uploads
    memory_min_mib: int  # free memory of the host below which the largest job is ended
    disk_min_mib: int  # free disk below which the largest job is ended


@dataclasses.dataclass(frozen=True, kw_only=True)
class Maintenance:
    """maintenance.json."""

    reap_prefix: str
    reap_after_seconds: float
    log_max_age_days: float
    log_max_mib: int
    image_max_age_hours: int
    disk_min_mib: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observability:
    """observability.json."""

    textfile: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """policy.json: which jobs the job-started hook lets begin."""

    events: list[str]
    repositories: list[str]  # patterns, as for fnmatch
    workflows: list[str]
    public: bool
    forks: bool


SHARED = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS")


def shared_environment(text: str) -> dict[str, str]:
    """The variables of /etc/thebes-runner/environment (proxies, certificates), which the units read too."""
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {key: value for key, equals, value in lines if equals}


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist: run site.yml on this host") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} can't be read: {error}") from None


def build(shape: type[Shape], values: Any, where: str) -> Shape:
    """Make a `shape` of the JSON object `values`, refusing unknown and missing keys."""
    if not isinstance(values, dict):
        raise SettingsError(f"{where} is {type(values).__name__}, expected an object")
    names = {field.name for field in dataclasses.fields(shape)}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - names):
        raise SettingsError(f"{where} has the unknown key {unknown[0]!r}")
    if missing := sorted(names - values.keys()):
        raise SettingsError(f"{where} lacks the key {missing[0]!r}")
    return shape(**values)


def runner(path: Path | None = None) -> Runner:
    where = path or CONFIG_DIR / "runner.json"
    values = read_json(where)
    if not isinstance(values, dict):
        raise SettingsError(f"{where} is {type(values).__name__}, expected an object")
    values = dict(values)
    values["github"] = build(GitHub, values.get("github"), f"{where}: github")
    values["labels"] = tuple(values.get("labels", ()))
    values["blocked_addresses"] = tuple(values.get("blocked_addresses", ()))
    values["instances"] = tuple(build(Instance, value, f"{where}: instances") for value in values.get("instances", ()))
    return build(Runner, values, str(where))


def controller(text: str) -> Controller:
    where = "standard input"
    value = build(Controller, json.loads(text), where)
    return dataclasses.replace(value, github=build(GitHub, value.github, f"{where}: github"))


def watchdog(path: Path | None = None) -> Watchdog:
    where = path or CONFIG_DIR / "watchdog.json"
    return build(Watchdog, read_json(where), str(where))


def maintenance(path: Path | None = None) -> Maintenance:
    where = path or CONFIG_DIR / "maintenance.json"
    return build(Maintenance, read_json(where), str(where))


def observability(path: Path | None = None) -> Observability:
    where = path or CONFIG_DIR / "observability.json"
    return build(Observability, read_json(where), str(where))


def policy(path: Path | None = None) -> Policy:
    where = path or CONFIG_DIR / "policy.json"
    value = build(Policy, read_json(where), str(where))
    for name in ("events", "repositories", "workflows"):
        # Of a text, each letter would be a pattern, an asterisk among them.
        if not isinstance(getattr(value, name), list):
            raise SettingsError(f"{where}: {name} is no list")
    return value
