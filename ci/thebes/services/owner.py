"""Whom a server runs as, and what it can read."""

import os
import pwd
import shutil
from pathlib import Path

from thebes.model import Value

UNPRIVILEGED = ("postgres", "nobody")


class Owner(Value, frozen=True, kw_only=True):
    """Whom a server runs as; null: as ourselves."""

    user: int | None = None
    group: int | None = None


def owner() -> Owner:
    """PostgreSQL refuses to run as root, and no server needs to: root's run as `postgres` or `nobody`."""
    if os.getuid() != 0:
        return Owner()
    for name in UNPRIVILEGED:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(user=found.pw_uid, group=found.pw_gid)
    return Owner(user=65534, group=65534)


def give(folder: Path, who: Owner) -> None:
    """Make a folder, and what is in it, somebody's."""
    if who.user is None or who.group is None:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, who.user, who.group, follow_symlinks=False)


def reachable(binary: str, who: Owner, folder: Path) -> str:
    """`binary`, or a copy of its installation where its user can't come to it (wheels below /root)."""
    path = Path(binary).resolve()
    if who.user is None or all(_open_to_all(one) for one in (path, *path.parents)):
        return str(path)
    top = path.parent.parent  # bin, and lib and share beside it
    copy = folder / "installation"
    names = [name for name in ("bin", "lib", "share") if (top / name).is_dir()]
    for name in names:
        shutil.copytree(top / name, copy / name, symlinks=True)
    for one in (copy, *copy.rglob("*")):
        if not one.is_symlink():
            one.chmod(one.stat().st_mode | (0o055 if one.is_dir() or one.stat().st_mode & 0o100 else 0o044))
    return str(copy / "bin" / path.name)


def _open_to_all(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o001)
