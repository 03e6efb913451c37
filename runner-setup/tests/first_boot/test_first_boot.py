"""cloud-init/user-data.yml on a bare machine, run by cloud-init itself when the machine starts for the first time."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, GitHub, Host, Jobs, copy_repository, settings_of, wait_for

FILLED_IN = {
    "ORGANIZATION": "acme",
    "APP_ID": "12345",
    "PLACE": "aws",
    "RELEASE_TAG": "v1",
    "OWNER": "acme",
    "SECRET": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:runners/app",
}
# What the machine has in common with that of the host tier, as its GitHub is the same stand-in.
COMMON = (
    "runner_url", "runner_mirror", "runner_sha256", "docker_registry_mirrors", "docker_container_limits",
    "preflight_disk_min_mib", "preflight_memory_min_mib", "runner_disk_min_mib", "watchdog_interval_seconds",
)  # fmt: skip
IDENTITY = {
    "Code": "Success", "AccessKeyId": "ASIAMACHINE", "SecretAccessKey": "none", "Token": "of-the-machine",
    "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600)),
}  # fmt: skip
ROLE = "/latest/meta-data/iam/security-credentials/"
MINUTES = 30  # a limit for what hangs


class Aws(http.server.BaseHTTPRequestHandler):
    """The instance metadata service (with the token of its version 2) and Secrets Manager's GetSecretValue."""

    def do_PUT(self) -> None:
        self.answer("session" if self.path == "/latest/api/token" else "")

    def do_GET(self) -> None:
        known = {ROLE: "thebes-runner", f"{ROLE}thebes-runner": json.dumps(IDENTITY)}
        self.answer(known.get(self.path, "") if self.headers["X-aws-ec2-metadata-token"] == "session" else "")

    def do_POST(self) -> None:
        """Only to the machine's own identity, in the right region."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        signed = r"AWS4-HMAC-SHA256 Credential=ASIAMACHINE/\d+/eu-central-1/secretsmanager/aws4_request, .*"
        allowed = (
            asked == {"SecretId": FILLED_IN["SECRET"]}
            and self.headers["X-Amz-Target"] == "secretsmanager.GetSecretValue"
            and self.headers["X-Amz-Security-Token"] == IDENTITY["Token"]
            and re.fullmatch(signed, self.headers["Authorization"])
        )
        key = Path(os.environ["FILES"], "app.pem").read_text(encoding="utf-8")
        self.answer(json.dumps({"Name": asked["SecretId"], "SecretString": key}) if allowed else "")

    def answer(self, text: str) -> None:
        self.send_response(200 if text else 403)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """pytest shows what matters."""


@pytest.fixture
def aws() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer((os.environ["GATEWAY"], 0), Aws)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{os.environ['GATEWAY']}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def user_data(host: Host) -> str:
    """The file as somebody would fill it in whose GitHub is a server of their own."""
    text = (ROOT / "cloud-init/user-data.yml").read_text(encoding="utf-8")
    for name, value in FILLED_IN.items():
        text, count = re.subn(rf"\b{name}\b", value, text)
        assert count, name
    settings = settings_of(host)
    more = {"base_ca_certificates": ["/root/github.crt"], **{name: settings[name] for name in COMMON}}
    lines = "".join(f"            {name}: {json.dumps(value)}\n" for name, value in more.items())
    text, count = re.subn(r"(?m)^( +runner_instances: .*\n)", rf"\1{lines}", text)
    assert count == 1
    assert yaml.safe_load(text)["runcmd"]
    return f"{text}locale: false  # a cloud's image has the packages for that\n"


def to_machine(host: Host, source: Path, target: str) -> None:
    subprocess.run(["docker", "cp", str(source), f"{host.name}:{target}"], check=True, capture_output=True)


def test_the_first_boot_leads_to_an_idle_runner(host: Host, github: GitHub, aws: str, tmp_path: Path) -> None:
    # What an image of a cloud brings along, and what stands for the internet.
    host.run("apt-get install --yes --quiet --no-install-recommends cloud-init")
    copy_repository(tmp_path / "thebes", "runner-setup")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for words in (("init",), ("add", "."), (*author, "commit", "--message", "v1"), ("tag", FILLED_IN["RELEASE_TAG"])):
        subprocess.run(["git", *words], cwd=tmp_path / "thebes", check=True, capture_output=True)
    to_machine(host, tmp_path / "thebes/.git", "/root/thebes.git")
    to_machine(host, Path(os.environ["FILES"], "ca.crt"), "/root/github.crt")
    (tmp_path / "gitconfig").write_text('[url "file:///root/thebes.git"]\ninsteadOf = https://github.com/acme/thebes\n')
    to_machine(host, tmp_path / "gitconfig", "/etc/gitconfig")
    # The way to PyPI is this machine's.
    environment = {
        name: value for name, value in os.environ.items() if re.fullmatch("PIP_INDEX_URL|.*_proxy", name, re.IGNORECASE)
    }
    if certificates := os.environ.get("PIP_CERT"):
        to_machine(host, Path(certificates).resolve(), "/root/pypi.crt")
        environment["PIP_CERT"] = "/root/pypi.crt"
    environment |= {"AWS_ENDPOINT_URL_SECRETS_MANAGER": aws, "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{aws}/"}
    service = "[Service]\n" + "".join(f"Environment={name}={value}\n" for name, value in environment.items())
    host.run(
        f"mkdir -p /etc/systemd/system/cloud-final.service.d /var/lib/cloud/seed/nocloud\n"
        f"cat >/etc/systemd/system/cloud-final.service.d/internet.conf <<'E'\n{service}E\n"
        "echo 'instance-id: first' >/var/lib/cloud/seed/nocloud/meta-data"
    )
    (tmp_path / "user-data").write_text(user_data(host))
    to_machine(host, tmp_path / "user-data", "/var/lib/cloud/seed/nocloud/user-data")

    start = time.monotonic()
    host.restart()
    result = "cat /run/cloud-init/result.json 2>/dev/null"
    ended = wait_for(lambda: host.run(result, check=False), "cloud-init has come to its end", MINUTES * 60)
    output = host.run("cat /var/log/cloud-init-output.log")
    assert json.loads(ended)["v1"]["errors"] == [], output[-6000:]
    print(f"first boot to the end of cloud-init: {time.monotonic() - start:.0f} s")
    assert re.search(r"localhost .* failed=0 ", output), output[-6000:]
    (name,) = wait_for(lambda: [r["name"] for r in github.runners("auto-thebes-host-a-")], "a runner is registered")
    wait_for(lambda: github.runners("auto-")[0]["status"] == "online", "it is online")
    job = Jobs(github, host).run("docker run --rm thebes-small echo works", labels=("aws",))
    assert job["conclusion"] == "success", job["log"]
    assert job["runner"] == name

    # The key is where only root finds it, and nowhere else.
    key = Path(os.environ["FILES"], "app.pem").read_text(encoding="utf-8").splitlines()[1]
    assert host.run(f"grep -rlF -e {key} /etc /run /opt /tmp /var/lib /var/log", check=False).split() == [
        "/etc/thebes-runner/secrets/app.pem"
    ]

    # As docs/runners.md says.
    page = (ROOT.parent / "docs/runners.md").read_text(encoding="utf-8")
    (drain,) = re.findall(r"```sh\n(.*-i /etc/thebes-first-boot\.yml drain\.yml)\n```", page)
    host.run(drain)
    assert github.runners("auto-") == []
