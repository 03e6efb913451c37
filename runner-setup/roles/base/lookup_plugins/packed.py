"""Packs a Python package into one zip file, from which Python can import it."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

from ansible import constants
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: packed
short_description: The path of a zip file, on the controller, with the modules of a package
description:
  - The same sources give the same bytes, so that a copy is idempotent.
  - One file is replaced in one step, so that a host never runs a mixture of old and new modules.
options:
  _terms:
    description: Folders of packages.
    required: true
"""


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    def run(self, terms: list[str], variables: object = None, **_: object) -> list[str]:
        return [pack(Path(folder)) for folder in terms]


def pack(folder: Path) -> str:
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    target = Path(constants.DEFAULT_LOCAL_TMP, f"{folder.name}-{digest}-{os.getpid()}.zip")
    with zipfile.ZipFile(target, "w") as archive:
        for module in sorted(folder.glob("*.py")):
            info = zipfile.ZipInfo(f"{folder.name}/{module.name}")  # dated 1980, whatever the file's date
            info.external_attr = 0o644 << 16
            archive.writestr(info, module.read_bytes())
    return str(target)
