"""What stands in for GitHub's own actions under act: Python, caches and artifacts on this machine's disk.

Kept from the real ones: a cache key is written once; an artifact's name is taken for good (409); hidden files are
uploaded only if asked for; patterns and names of folders of a download.
"""

import contextlib
import fnmatch
import json
import os
import shutil
import sys
from pathlib import Path

STORE = Path(os.environ["STANDIN_STORE"])
INPUTS = json.loads(os.environ["STANDIN"])


def put(name: str, value: str) -> None:
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"{name}={value}\n")


def python() -> None:
    bin_ = STORE / "bin"
    bin_.mkdir(parents=True, exist_ok=True)
    for name in ("python", "python3"):
        with contextlib.suppress(FileExistsError):  # jobs beside this one do the same
            (bin_ / name).symlink_to(os.path.realpath(sys.executable))
    with Path(os.environ["GITHUB_PATH"]).open("a", encoding="utf-8") as file:
        file.write(f"{bin_}\n")
    put("python-version", "{}.{}.{}".format(*sys.version_info[:3]))


def restore() -> None:
    caches = STORE / "caches"
    keys = [INPUTS["key"], *(INPUTS.get("restore-keys") or "").split()]
    found = next((folder for folder in (caches / key for key in keys[:1]) if folder.is_dir()), None)
    for prefix in keys[1:] if found is None else ():
        newest = sorted(caches.glob(f"{prefix}*"), key=lambda folder: folder.stat().st_mtime)
        found = found or (newest[-1] if newest else None)
    if found:
        shutil.copytree(found, INPUTS["path"], symlinks=True, dirs_exist_ok=True)
    put("cache-hit", "true" if found and found.name == keys[0] else "")


def save() -> None:
    place, source = STORE / "caches" / INPUTS["key"], Path(INPUTS["path"])
    if place.exists():
        sys.stdout.write("::warning::the key exists already\n")
    elif not source.exists():
        sys.stdout.write("::warning::nothing to save\n")
    else:
        whole = place.with_name(f".{place.name}.{os.getpid()}")
        shutil.copytree(source, whole, symlinks=True)
        try:
            whole.rename(place)
        except OSError:  # a job beside this one was first, as may happen on GitHub
            shutil.rmtree(whole)


def upload() -> None:
    lines = [line.strip() for line in INPUTS["path"].splitlines() if line.strip()]
    left_out = [Path(line[1:]) for line in lines if line.startswith("!")]
    files = [file for line in lines if not line.startswith("!") for file in files_of(Path(line), left_out)]
    if not files:
        sys.exit(
            f"No files were found with the provided path: {lines}" if INPUTS.get("if-no-files-found") == "error" else 0
        )
    artifact = STORE / "artifacts" / os.environ["GITHUB_RUN_ID"] / INPUTS["name"]
    if any(sign in INPUTS["name"] for sign in '":<>|*?\r\n\\/'):
        sys.exit(f"The artifact name is not valid: {INPUTS['name']}")
    try:
        artifact.mkdir(parents=True)
    except FileExistsError:
        sys.exit("Failed to CreateArtifact: (409) Conflict: an artifact with this name already exists")
    top = Path(os.path.commonpath([file.parent for file in files]))
    for file in files:
        place = artifact / file.relative_to(top)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def files_of(path: Path, left_out: list[Path]) -> list[Path]:
    if path.is_file():
        return [path]
    hidden = INPUTS.get("include-hidden-files") == "true"
    return [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file()
        and not any(file.is_relative_to(one) for one in left_out)
        and (hidden or not any(part.startswith(".") for part in file.relative_to(path).parts))
    ]


def download() -> None:
    artifacts = STORE / "artifacts" / (INPUTS.get("run-id") or os.environ["GITHUB_RUN_ID"])
    if name := INPUTS.get("name"):
        if not (artifacts / name).is_dir():
            sys.exit(f"Unable to download artifact(s): Artifact not found for name: {name}")
        shutil.copytree(artifacts / name, INPUTS["path"], dirs_exist_ok=True)
        return
    for artifact in sorted(artifacts.iterdir()) if artifacts.is_dir() else ():
        if fnmatch.fnmatchcase(artifact.name, INPUTS["pattern"]):
            shutil.copytree(artifact, Path(INPUTS["path"], artifact.name), dirs_exist_ok=True)


def site() -> None:
    INPUTS["name"], INPUTS["if-no-files-found"] = "github-pages", "error"
    upload()


def deploy() -> None:
    shutil.copytree(STORE / "artifacts" / os.environ["GITHUB_RUN_ID"] / "github-pages", STORE / "pages")
    put("page_url", "https://somebody.github.io/consumer/")


{
    "python": python,
    "restore": restore,
    "save": save,
    "upload": upload,
    "download": download,
    "site": site,
    "deploy": deploy,
}[sys.argv[1]]()
