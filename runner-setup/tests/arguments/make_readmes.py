"""Write each role's README from its argument specification and defaults: `python make_readmes.py`."""

from __future__ import annotations

from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
WHAT = {
    "preflight": "Runs first, on all machines, and stops before anything is changed on any of them.",
    "base": "The host programs (`files/thebes_runner`) are plain Python without dependencies.",
    "docker": "Rootless: each runner gets a daemon under its own user, with its own images, limits and socket.",
    "runner": "Users, folders, units, credentials and the hook. `tasks_from: start`, `online`, `drain` and `remove` are"
    " used by the playbooks.",
    "watchdog": "A root service that measures the age of each job's `Runner.Worker`; see docs/runners.md for its"
    " stages.",
    "maintenance": "A timer.",
    "observability": "Metrics are written by a timer and served by the distribution's node exporter.",
}


def readme(role: str) -> str:
    folder = ROLES / role
    main = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    defaults = yaml.safe_load((folder / "defaults/main.yml").read_text())
    lines = [
        f"# {role}",
        "",
        f"{main['short_description']}. {WHAT[role]}",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    for name, option in main["options"].items():
        value = str(defaults[name]).replace("|", "\\|")
        shown = f"`{value}`" if len(value) <= 60 else "see defaults/main.yml"
        choices = f" One of {', '.join(option['choices'])}." if "choices" in option else ""
        lines.append(f"| `{name}` | {shown} | {' '.join(option['description'].split())}{choices} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for path in ROLES.iterdir():
        (path / "README.md").write_text(readme(path.name))
