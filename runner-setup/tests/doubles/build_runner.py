"""Pack the stand-in of the runner as GitHub packs the real one; prints the tarball's sha256."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path


def build(source: Path, target: Path) -> str:
    """A tarball of the same bytes for the same sources."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(source.rglob("*")):
            info = archive.gettarinfo(str(path), arcname=f"./{path.relative_to(source)}")
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 1001, 118, "runner", "docker"
            with path.open("rb") if path.is_file() else io.BytesIO() as file:
                archive.addfile(info, file if path.is_file() else None)
    target.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
    return hashlib.sha256(target.read_bytes()).hexdigest()


if __name__ == "__main__":
    print(build(Path(__file__).parent / "runner", Path(sys.argv[1])))
