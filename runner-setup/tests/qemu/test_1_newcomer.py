"""The README's first steps, as they stand there, from a bare machine to runners that GitHub lists as online."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import GitHub, Host, copy_repository

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
TIMED = '{line}\necho "took $((SECONDS - before)) s: {line}"; before=$SECONDS\n'
PING = "ansible all -m ping"
KEY = "export RUNNER_APP_KEY_FILE=~/my-app.private-key.pem"
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What the README asks to be edited.
EDITS = (
    ("192.0.2.10", "127.0.0.1"),
    ("ORGANIZATION", "acme"),
    ('"123456"', '"12345"'),
)


class Newcomer:
    """Someone with a copy of the kit, an App's key at home, and a machine whose SSH key is known."""

    def __init__(self, home: Path) -> None:
        self.home = home
        copy_repository(home, "runner-setup")
        shutil.copy(os.environ["RUNNER_APP_KEY_FILE"], home / "my-app.private-key.pem")
        inventory = home / "runner-setup" / "inventory"
        text = (inventory / "hosts.yml").read_text(encoding="utf-8")
        for before, after in EDITS:
            assert before in text
            text = text.replace(before, after)
        (inventory / "hosts.yml").write_text(text, encoding="utf-8")
        (inventory / "host_vars").mkdir()
        shutil.copy(os.environ["MACHINE"], inventory / "host_vars" / "builder-1.yml")

    def follow(self, *lines: str, folder: str = "") -> str:
        """Run the lines in one shell; what they print, which ends with the time that each took."""
        # Nothing of the shell that started the tests, but the way to PyPI.
        kept = {
            name: value for name, value in os.environ.items() if re.match("PIP_|.*_proxy$|SSL_", name, re.IGNORECASE)
        }
        script = "set -e; before=0\n" + "".join(TIMED.format(line=line) for line in lines)
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.home / folder,
            env=kept | {"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
        print(*(line for line in done.stdout.splitlines() if line.startswith("took ")), sep="\n")
        return done.stdout


def steps() -> list[str]:
    """The README's commands."""
    return [line.partition("#")[0].strip() for block in BLOCK.findall(README) for line in block.splitlines()]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    return Newcomer(tmp_path_factory.mktemp("home"))


@pytest.mark.skipif(os.environ["SUITE"] != "noble", reason="only Ubuntu's kernel has the rule")
def test_a_machine_whose_kernel_would_stop_rootless_docker_is_refused(newcomer: Newcomer, host: Host) -> None:
    """With the profile that Ubuntu has for rootlesskit, all that follows works under the same rule."""
    assert host.run("cat /proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
    profile = "/etc/apparmor.d/rootlesskit"
    host.run(f"mv {profile} /root/")
    told = newcomer.follow(*steps()[:2], KEY, "ansible-playbook site.yml || echo refused")
    assert "refused" in told.splitlines()
    assert "has no AppArmor profile for rootlesskit" in " ".join(told.split())
    host.run(f"mv /root/rootlesskit {profile}")


def test_the_readme_leads_to_idle_runners(newcomer: Newcomer, github: GitHub) -> None:
    lines = steps()
    assert "ansible-playbook smoke.yml" in lines
    assert f"`{PING}`" in README
    newcomer.follow(*lines[:2], PING, *lines[2:])
    for instance in ("a", "b"):
        assert github.ready(instance)


def test_a_second_run_changes_nothing_and_health_shows_them(newcomer: Newcomer, github: GitHub) -> None:
    shell = (". .venv/bin/activate", KEY)  # a new one
    second = newcomer.follow(*shell, "ansible-playbook site.yml", folder="runner-setup")
    assert re.search(r"builder-1 .* changed=0 .* failed=0 ", second), second[-2000:]
    table = newcomer.follow(*shell, "ansible-playbook health.yml", folder="runner-setup")
    for instance in ("a", "b"):
        assert re.search(rf"builder-1 +{instance} +idle .* up ", table), table[-2000:]
