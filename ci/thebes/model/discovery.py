"""What discovery finds."""

from typing import ClassVar

from .base import Value


class TestFile(Value, frozen=True, kw_only=True):
    """A file that pytest would collect: its key (node id before the first `::`) and its path in the project."""

    __test__: ClassVar[bool] = False

    key: str
    path: str


class Options(Value, frozen=True, kw_only=True):
    """What the project's own configuration says about running, as pytest understood it. `markers`: declared ones."""

    workers: str | None = None
    dist: str = "no"
    coverage: bool = False
    fail_under: float | None = None
    marker: str = ""
    keyword: str = ""
    maxfail: int = 0
    reruns: int = 0
    markers: tuple[str, ...] = ()


class Discovery(Value, frozen=True, kw_only=True):
    """The test files of one project. `collected` is true where only a full collection could tell; then `tests`
    has the node ids by file, those that the project's own configuration deselects left out."""

    rootdir: str
    inipath: str | None
    python: str
    pytest: str
    plugins: dict[str, str]
    options: Options
    files: tuple[TestFile, ...]
    collected: bool = False
    tests: dict[str, tuple[str, ...]] = {}
    notes: tuple[str, ...] = ()
