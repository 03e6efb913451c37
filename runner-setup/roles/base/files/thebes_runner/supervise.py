"""The life of one runner: clean, check, mint, run one job, clean, deregister; for ever.

Root runs this; the listener and the job run as the instance's user in a unit of their own
(`thebes-job@`), so that restarting or updating the supervisor does not touch a running job.
"""

from __future__ import annotations

import dataclasses
import os
import random
import secrets
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from thebes_runner import firewall, github, notes, processes, reset, system
from thebes_runner.errors import GitHubError, HostError, RunnerKitError
from thebes_runner.registered import Registered, handed_over, refused, terms
from thebes_runner.settings import SHARED, Instance, Runner
from thebes_runner.system import LOG

ENDINGS = (signal.SIGTERM, signal.SIGHUP)
POLL_SECONDS = 1.0
STOP_SECONDS = 30.0
FIREWALL_CHECK_SECONDS = 15.0
ASK_AGAIN_SECONDS = 60.0  # whether a listener may be ended, after GitHub said no, or nothing
# Checks in a row that find a listener offline before it is ended: it hangs. GitHub itself waits for a day.
SILENT_CHECKS = 3
DOUBTFUL_FAILURES = 3
PATIENT_FAILURES = 10  # half an hour by the default pauses
BY_HAND = "delete it there under Settings, Actions, Runners"
VERSION_REFUSED = 7
# Exit codes of Runner.Listener (its Constants.cs).
MEANING = {
    0: "ended",
    1: "ended with an error",
    2: "asks to be started again",
    3: "wants to update itself",
    4: "wants to update itself",
    5: "another session uses this registration",
    6: "got a new configuration",
    VERSION_REFUSED: "its version is no longer accepted: set runner_version to a newer one and run site.yml",
}


# Not Exceptions: nobody who catches what can go wrong may catch these.
class Stopped(BaseException):
    """SIGTERM came: the unit is being stopped."""


class Reloaded(BaseException):
    """SIGHUP came: settings or programs are new; a running job is left alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a listener ended."""

    result: str  # systemd's Result=: success, exit-code, signal, oom-kill …
    code: int

    @property
    def ok(self) -> bool:
        return self.result == "success" and self.code == 0

    def __str__(self) -> str:
        if self.result == "exit-code":
            return f"listener exit {self.code}: {MEANING.get(self.code, 'unknown')}"
        return f"listener {self.result} ({self.code})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Left:
    """A registration that stays at GitHub."""

    text: str  # which, and why
    for_good: bool  # another attempt with these credentials would do no more


def runner_name(prefix: str, instance: str) -> str:
    """A name never used before, so that a stale registration can't be in the way."""
    return f"{prefix}{instance}-{secrets.token_hex(4)}"


class Supervisor:
    def __init__(self, settings: Runner, instance: Instance) -> None:
        self.settings = settings
        self.instance = instance
        self.state = notes.read(instance)
        self.registered = Registered(settings, instance, self.state)
        self.client = self.registered.client
        self.failures = 0  # in a row
        self.broken = 0  # listeners in a row that failed without a job
        self.next_check = 0.0  # of the registration (time.monotonic)
        self.ask_again = 0.0  # whether the listener may be ended
        self.counted: object = None  # the last job before this listener
        self.stopping = False  # we ended the listener ourselves
        self.stale = False  # the listener is to begin anew as soon as it is idle
        self.silent = 0  # checks in a row that found it offline
        self.saved = instance.live_state_file.exists()

    # --- state: read by health, metrics and drain --------------------------------------------

    def note(self, phase: str, **values: object) -> None:
        """Remember where we are; written only when something changed. A full disk stops nobody: the cleaning
        that comes next makes room. Of an "idle" listener a controller believes that it stays, and hands over
        no other configuration."""
        if phase == self.state.get("phase") and not values and self.saved:
            return
        if phase != self.state.get("phase"):
            self.state["since"] = time.time()
        self.state.update(values, phase=phase)
        try:
            notes.write(self.instance, self.state)
        except OSError as error:
            if self.saved:  # said once, tried again at the next note
                LOG.warning("%s: the noted state is out of date: %s", self.instance.name, error)
            self.saved = False
        else:
            self.saved = True

    def note_registration(self, **values: object) -> None:
        """Before it is made, or it is not made at all (OSError): an old one taken for the live one would be
        "gone", which ends the listener, with a job that has just come to it."""
        self.state.update(values)
        notes.write_live(self.instance, self.state)
        self.note("registering", **values)

    def add(self, counter: str) -> None:
        self.state[counter] = int(self.state.get(counter, 0)) + 1

    # --- the loop ----------------------------------------------------------------------------

    def run(self) -> None:
        """Until drained or stopped. On SIGHUP the program starts anew and adopts the listener."""
        signal.signal(signal.SIGTERM, raise_stopped)
        signal.signal(signal.SIGHUP, raise_reloaded)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
            self.adopt()
            while not self.draining():
                try:
                    self.cycle()
                    self.failures = 0
                except (RunnerKitError, OSError) as error:
                    self.failures += 1
                    self.add("failures")
                    self.wait_after(error, self.failures)
            self.retire("drained")
        except Stopped:
            self.retire("stopped")
        except Reloaded:
            if self.state.get("phase") == "idle":  # the new program ends the listener
                self.note("cleaning")
            # The file that systemd took these from may be another by now; the new program reads it.
            rest = {name: value for name, value in os.environ.items() if name not in SHARED}
            os.execve(sys.argv[0], sys.argv, rest)

    def cycle(self) -> None:
        self.prepare()
        if self.await_configuration():
            return  # the checks before a job are old by then
        self.register()
        self.listen()
        outcome, had_job = self.finish()
        if had_job or self.stopping:
            self.broken = 0
            return
        # GitHub's listener ends when its registration is gone: well, or, if that is so when it begins, not well.
        if outcome.ok or not self.settings.ephemeral:
            self.check_registration()
        if not self.settings.ephemeral:
            self.register_anew(outcome)
        raise HostError(f"{outcome}, without a job")

    def register_anew(self, outcome: Outcome) -> None:
        """After some failures in a row: a job may have broken the files of a lasting registration."""
        self.broken += outcome.code != VERSION_REFUSED
        if self.broken < DOUBTFUL_FAILURES or not self.registered.known:
            return
        LOG.warning("%s: the listener does not work with its registration: a new one is made", self.instance.name)
        try:
            self.registered.delete()
        except RunnerKitError as error:
            LOG.warning("%s: %s", self.instance.name, error)

    def adopt(self) -> None:
        """After a crash or reload the listener may still be there. Idle: end it, as its settings and its
        release may be old. Busy: wait for the job."""
        if not system.unit_active(self.instance.job_unit):
            return
        LOG.info("%s: a listener still runs, adopted", self.instance.name)
        self.stale = True
        if not self.job_started():
            self.stop_idle_listener()
        self.watch()
        self.finish()

    def prepare(self) -> None:
        self.note("cleaning")
        reset.reset(self.settings, self.instance)
        try:
            self.deregister()
        except RunnerKitError as error:
            if not self.give_up(error):
                raise
        firewall.ensure(self.settings)
        free = system.disk_free_mib(self.instance.directory)
        if free < self.settings.disk_min_mib:
            raise HostError(
                f"{free:.0f} MiB free at {self.instance.directory}, runner_disk_min_mib is "
                f"{self.settings.disk_min_mib}: free space or lower the limit"
            )
        reset.start_user_services(self.settings, self.instance)

    def await_configuration(self) -> bool:
        """Without credentials there is nothing to do until a controller hands one over; whether it was waited."""
        if self.settings.github.auth != "none" or self.instance.prepared_file.exists():
            return False
        wanted = "no one-time configuration: run site.yml from the controller"
        LOG.info("%s: %s", self.instance.name, wanted)
        self.note("waiting", last_error=wanted)
        while not (self.instance.prepared_file.exists() or self.draining()):
            time.sleep(POLL_SECONDS)
        return True

    def register(self) -> None:
        """Hand the listener what it needs, through a file that only root and systemd read."""
        self.note("registering")
        values: dict[str, str] = {}
        prepared = self.instance.prepared_file
        if prepared.exists():  # minted on the controller: good for exactly one job
            values = self.use_prepared(prepared)
        elif self.settings.ephemeral:
            group = self.client.admit()
            name = runner_name(self.settings.name_prefix, self.instance.name)
            self.note_registration(runner_id=None, runner_name=name, terms=terms(self.settings))
            runner_id, blob = self.client.mint(name, self.settings.labels, group)
            self.note_registration(runner_id=runner_id)
            values["ACTIONS_RUNNER_INPUT_JITCONFIG"] = blob
        elif (self.instance.runner_dir / ".runner").exists():
            name = self.registered.name or self.lasting_name
            self.note_registration(runner_name=name, terms=self.registered.terms)
        else:
            self.client.admit()
            values = self.persistent_registration()
        text = "".join(f"{key}={value}\n" for key, value in values.items())
        system.write_atomic(self.instance.run_dir / "listener.env", text)

    def use_prepared(self, prepared: Path) -> dict[str, str]:
        value = system.read_state(prepared)
        if not {"runner_id", "name", "jit_config"} <= value.keys():
            prepared.unlink()  # a controller hands over another only when there is none
            raise HostError(f"{prepared} was no one-time configuration: run site.yml from the controller")
        made = handed_over(self.settings, value)
        self.note_registration(runner_id=value["runner_id"], runner_name=value["name"], terms=made)
        prepared.unlink()
        return {"ACTIONS_RUNNER_INPUT_JITCONFIG": str(value["jit_config"])}

    @property
    def lasting_name(self) -> str:
        return f"{self.settings.name_prefix}{self.instance.name}"

    def persistent_registration(self) -> dict[str, str]:
        name = self.lasting_name
        self.note_registration(runner_id=None, runner_name=name, terms=terms(self.settings))
        target = self.settings.github
        kind = "enterprises/" if target.scope == "enterprise" else ""
        values = {
            "ACTIONS_RUNNER_INPUT_TOKEN": self.client.registration_token(),
            "ACTIONS_RUNNER_INPUT_URL": f"{target.url}/{kind}{target.target}",
            "ACTIONS_RUNNER_INPUT_NAME": name,
            "ACTIONS_RUNNER_INPUT_LABELS": ",".join(self.settings.labels),
        }
        if target.scope != "repository":
            values["ACTIONS_RUNNER_INPUT_RUNNERGROUP"] = target.group
        return values

    def listen(self) -> None:
        self.stopping = False
        # When GitHub would not let a persistent one go that is to be made anew.
        self.stale = not self.settings.ephemeral and self.registered.outdated
        self.silent = 0
        self.state["version"] = self.settings.version
        self.counted = self.state.get("counted")
        # The watchdog may have noted the last listener's job while that ended.
        self.instance.job_file.unlink(missing_ok=True)
        system.run("systemctl", "start", self.instance.job_unit)
        # Type=exec: the process has its environment by now, the file has done its service.
        (self.instance.run_dir / "listener.env").unlink(missing_ok=True)
        self.watch()

    def watch(self) -> None:
        """Until the listener ends; meanwhile end it when asked, and notice a lost registration."""
        self.schedule_check()
        firewall_check = 0.0
        self.ask_again = 0.0
        with processes.handle(system.main_pid(self.instance.job_unit)) as handle:
            while not ended(handle, POLL_SECONDS):
                busy = self.job_started()
                self.count_job()
                self.note("job" if busy else "idle")
                self.clean_between_jobs()
                if time.monotonic() >= firewall_check:
                    firewall_check = time.monotonic() + FIREWALL_CHECK_SECONDS
                    self.check_firewall(busy)
                if busy:
                    self.ask_again = 0.0
                elif (self.stale or self.draining()) and not self.stopping:
                    if time.monotonic() >= self.ask_again:
                        self.ask_again = time.monotonic() + ASK_AGAIN_SECONDS
                        self.stop_idle_listener()
                elif time.monotonic() >= self.next_check:
                    self.schedule_check()
                    self.check_registration()

    def schedule_check(self, asked: float | None = None) -> None:
        """GitHub counts the requests of a fleet: they are spread, and what it asks for is waited out."""
        seconds = max(self.settings.registration_check_seconds, asked or 0.0)
        self.next_check = time.monotonic() + seconds * random.uniform(1.0, 1.1)

    def check_firewall(self, busy: bool) -> None:
        """A flush of the host's rules takes ours along. Without them no job may come: the listener is ended
        before the error is waited out. A job that runs, or has just come, stays."""
        try:
            firewall.ensure(self.settings)
        except HostError as error:
            LOG.error("%s: %s", self.instance.name, error)
            if not busy and self.stop_idle_listener():
                raise

    def job_started(self) -> bool:
        """The watchdog is the one that knows; it writes the job's file as long as the job lasts."""
        return self.instance.job_file.exists()

    def worker_logged(self) -> bool:
        return any((self.instance.runner_dir / "_diag").glob("Worker_*.log"))

    def count_job(self) -> None:
        """Each once, by its worker: a lasting listener has many."""
        job = system.read_state(self.instance.job_file)
        worker = [job.get("worker"), job.get("started")]
        if job and self.state.get("counted") != worker:
            self.state["counted"] = worker
            self.add("jobs")

    def check_registration(self) -> None:
        """End an idle listener that GitHub no longer knows, or has long not heard of. Doubt is no reason."""
        if self.settings.github.auth == "none" or not self.registration_known():
            return
        try:
            found = self.registered.find()
        except (RunnerKitError, OSError) as error:
            LOG.warning("%s: can't check the registration: %s", self.instance.name, error)
            self.schedule_check(getattr(error, "retry_after", None))
            return
        if found is None:
            LOG.warning("%s: registration is gone from GitHub: starting anew", self.instance.name)
            self.registered.forget()
            self.add("registrations_lost")
            self.stop_listener()
            return
        self.silent = self.silent + 1 if found.status == "offline" else 0
        if self.silent >= SILENT_CHECKS and self.stop_idle_listener():
            LOG.warning("%s: GitHub has not heard of the listener for long: ended it", self.instance.name)

    def registration_known(self) -> bool:
        if not self.registered.known:
            LOG.warning("%s: not known under which name it listens: left alone", self.instance.name)
        return self.registered.known

    def clean_between_jobs(self) -> None:
        """Persistent mode: the job-completed hook asks root to remove what the user may not."""
        request = self.instance.runner_dir / "clean-request"
        if self.settings.ephemeral or not os.path.lexists(request):
            return
        try:
            reset.between_jobs(self.settings, self.instance)
            reset.delete([request])  # a job may have made a folder of it
        except HostError as error:  # no next job in what is left; all is cleaned when the listener has ended
            LOG.warning("%s: can't clean between jobs: %s", self.instance.name, error)
            self.stop_listener()

    # --- ending ------------------------------------------------------------------------------

    def draining(self) -> bool:
        return self.instance.drain_file.exists()

    def stop_idle_listener(self) -> bool:
        """Whether it was ended; not if a job may have come to it, or if that can't be known."""
        if not self.registration_known():
            return False
        try:
            if not self.let_go():
                LOG.info("%s: a job has come to the listener: it goes on", self.instance.name)
                return False
        except (RunnerKitError, OSError) as error:
            if self.worker_runs() or not self.give_up(error):
                LOG.warning("%s: can't end the listener yet: %s", self.instance.name, error)
                self.ask_again = max(self.ask_again, time.monotonic() + (getattr(error, "retry_after", None) or 0.0))
                return False
        self.stop_listener()
        return True

    def let_go(self) -> bool:
        """Only GitHub knows whether a job is on its way: it refuses to delete a busy runner."""
        if self.settings.github.auth == "none":
            return not self.worker_runs()  # the best that can be known here
        if self.keeps_registration():
            found = self.registered.find()
            return not self.worker_runs() and (found is None or not found.busy)
        return self.deregister()

    def worker_runs(self) -> bool:
        """Also one that the watchdog has not noted yet."""
        own = processes.owned_by([range(self.instance.uid, self.instance.uid + 1)], processes.every())
        return processes.oldest_worker(own) is not None

    def give_up(self, error: Exception) -> bool:
        """A registration at a place that the settings have left, where these credentials will never do, or
        that has long not answered: it may be no more."""
        hopeless = self.failures >= PATIENT_FAILURES or (isinstance(error, RunnerKitError) and refused(error))
        if not (self.registered.moved and hopeless):
            return False
        LOG.warning("%s: %s; %s", self.instance.name, self.registered.left(error), BY_HAND)
        self.registered.forget()
        self.note(str(self.state.get("phase")), terms=None)  # told once
        return True

    def stop_listener(self) -> None:
        self.stopping = True
        self.note("cleaning")
        system.run("systemctl", "stop", self.instance.job_unit, timeout=STOP_SECONDS * 2)

    def keeps_registration(self) -> bool:
        """A persistent runner's stays from listener to listener, until it is drained or to be made anew."""
        return not (self.settings.ephemeral or self.draining() or self.registered.outdated)

    def deregister(self) -> bool:
        """Delete a registration that is not to stay; False when GitHub says that a job runs on it."""
        # Without credentials there is nothing to call: GitHub itself removes an ephemeral runner
        # that was used, or that stayed offline for a day. Its id is kept for `remove` to tell.
        if self.settings.github.auth == "none" or self.keeps_registration():
            return True
        return self.registered.delete()

    def finish(self) -> tuple[Outcome, bool]:
        """How the listener ended, and whether it had a job."""
        shown = system.unit_properties(self.instance.job_unit, "Result", "ExecMainStatus")
        outcome = Outcome(result=shown["Result"], code=int(shown["ExecMainStatus"]))
        (self.instance.run_dir / "listener.env").unlink(missing_ok=True)
        self.count_job()
        # Of one that was refused the watchdog may have removed the file, when the worker had ended.
        had_job = self.job_started() or (outcome.ok and self.state.get("counted") != self.counted)
        self.instance.job_file.unlink(missing_ok=True)
        if not (had_job or self.stopping) and self.settings.ephemeral and self.worker_logged():
            had_job = True  # which ended before the watchdog saw it
            self.add("jobs")
        LOG.info("%s: %s%s", self.instance.name, outcome, "" if had_job else ", no job")
        self.note("ended", ended=time.time())
        return outcome, had_job

    def retire(self, phase: str) -> None:
        if left := self.end(phase):
            LOG.warning("%s: %s", self.instance.name, left.text)

    def end(self, phase: str) -> Left | None:
        """End, deregister and wipe; the registration that is still at GitHub, if any."""
        self.stop_listener()
        left = None
        try:
            if not self.deregister():
                left = Left(text=self.registered.left("GitHub says that a job runs on it"), for_good=False)
        except (RunnerKitError, OSError) as error:  # OSError: a key or token that can't be read
            hopeless = isinstance(error, OSError) or refused(error)
            left = Left(text=self.registered.left(error), for_good=hopeless)
            self.give_up(error)
        reset.reset(self.settings, self.instance)
        self.note(phase)
        return left

    def known_registrations(self) -> list[dict[str, object]]:
        """Those that GitHub may still have: the last one, and one that was handed over but not yet used."""
        value = system.read_state(self.instance.prepared_file)
        made = handed_over(self.settings, value)
        state = {"runner_id": value.get("runner_id"), "runner_name": value.get("name"), "terms": made}
        prepared = Registered(self.settings, self.instance, state)
        return [r.noted() for r in (self.registered, prepared) if r.state.get("runner_id") is not None]

    def wait_after(self, error: RunnerKitError | OSError, failures: int) -> None:
        asked = error.retry_after if isinstance(error, GitHubError) else None
        seconds = github.backoff(
            failures,
            self.settings.backoff_seconds,
            self.settings.backoff_max_seconds,
            asked,
            random.random(),
        )
        LOG.error("%s: %s; next try in %.0f s", self.instance.name, error, seconds)
        self.note("waiting", last_error=str(error))
        deadline = time.monotonic() + seconds
        prepared = self.instance.prepared_file
        while time.monotonic() < deadline and not (self.draining() or prepared.exists()):
            time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def ended(handle: int | None, seconds: float) -> bool:
    """Whether the process ends within `seconds`; returns at once when it does."""
    return handle is None or bool(select.select([handle], [], [], seconds)[0])


def raise_stopped(_number: int, _frame: FrameType | None) -> None:
    for number in ENDINGS:  # nothing disturbs the retirement
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def raise_reloaded(_number: int, _frame: FrameType | None) -> None:
    # What comes meanwhile waits for the new program: ended by SIGTERM while it starts, it would leave
    # its listener behind.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    raise Reloaded
