"""The formats: golden files, JSON Schemas, the tables of docs/formats.md, and what is refused."""

import json
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect as mi
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from support.project import REPOSITORY, Project
from thebes.codec import UNDECODABLE, decode_line, decode_plan, decode_verdict, encode
from thebes.errors import FormatError
from thebes.merge import merge, open_run
from thebes.merge.records import Sinks, header, read
from thebes.merge.store import SCHEMA
from thebes.model import FORMAT, Header, Line, Plan, RecordLine, Verdict

GOLDEN = REPOSITORY / "tests" / "golden"
DOCUMENT = (REPOSITORY / "docs" / "formats.md").read_text("utf-8")


SIMPLE: dict[type, str] = {
    mi.StrType: "text",
    mi.IntType: "integer",
    mi.FloatType: "number",
    mi.BoolType: "boolean",
    mi.NoneType: "null",
}


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((REPOSITORY / "docs" / "formats" / f"{name}.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def structs(kind: Any) -> dict[str, mi.StructType]:
    """All types that `kind` consists of, by the name they have in the documentation."""
    found: dict[str, mi.StructType] = {}

    def visit(node: Any) -> None:
        if isinstance(node, mi.StructType):
            found["Line " + str(node.tag) if issubclass(node.cls, Line) else f"Object {node.cls.__name__}"] = node
            for field in node.fields:
                visit(field.type)
        for inner in ("item_type", "value_type"):
            visit(getattr(node, inner)) if hasattr(node, inner) else None
        for inner in ("item_types", "types"):
            for one in getattr(node, inner, ()):
                visit(one)

    visit(mi.type_info(kind))
    return found


def type_name(node: Any) -> str:
    """As the documentation writes it."""
    match node:
        case mi.VarTupleType():
            return f"list of {type_name(node.item_type)}"
        case mi.TupleType():
            return f"list of {len(node.item_types)} {type_name(node.item_types[0])}"
        case mi.DictType():
            return f"object of {type_name(node.value_type)}"
        case mi.UnionType():
            return " or ".join(map(type_name, node.types))
    return SIMPLE.get(type(node)) or str(node.cls.__name__)


def documented() -> dict[str, list[tuple[str, str]]]:
    """Name and type of every field by heading, as in "Line end", "Object Plan", "Table test"."""
    sections = re.findall(r"^### (\w+ )`(\w+)`\n(.*?)(?=^##|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    return {kind + name: re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", body, re.MULTILINE) for kind, name, body in sections}


def test_goldens_decode_and_encode_to_the_same_bytes() -> None:
    assert encode(decode_plan(golden("plan.json"), "p")) == golden("plan.json")
    assert encode(decode_verdict(golden("verdict.json"), "v")) == golden("verdict.json")
    assert [encode(decode_line(line)) for line in lines(golden("record.jsonl"))] == lines(golden("record.jsonl"))


def test_goldens_have_every_kind_and_fit_the_schemas() -> None:
    validator("plan").validate(json.loads(golden("plan.json")))
    validator("verdict").validate(json.loads(golden("verdict.json")))
    record = validator("record")
    for line in lines(golden("record.jsonl")):
        record.validate(json.loads(line))
    kinds = {f"Line {json.loads(line)['kind']}" for line in lines(golden("record.jsonl"))}
    assert kinds == structs(RecordLine).keys()


def test_golden_record_is_merged(tmp_path: Path) -> None:
    """The files belong together: what an older version wrote is still understood, not only decoded."""
    folder = tmp_path / "thebes-unit-py3.12-1of2-a1"
    folder.mkdir()
    (folder / "record.jsonl").write_bytes(golden("record.jsonl"))
    plan = decode_plan(golden("plan.json"), "p")
    merge([tmp_path], plan, tmp_path / "run", repository=tmp_path)
    with closing(open_run(tmp_path / "run")) as db:
        rows = db.execute("SELECT id, outcome, attempts, flaky FROM test ORDER BY id").fetchall()
        codes = {code for (code,) in db.execute("SELECT code FROM problem WHERE task = 'unit-py3.12-1of2'")}
    file = "tests/unit/test_queue.py"
    assert [tuple(row) for row in rows] == [
        ("tests/unit/test_price.py::test_sum", "passed", 1, 0),
        (f"{file}::TestRetry::test_delay[1-0.5]", "crashed", 1, 0),
        (f"{file}::test_order", "passed", 2, 1),
    ]
    assert codes == {"positional-deselection", "worker-crashed"}


def test_schemas_are_those_of_the_types(project: Project) -> None:
    done = project.command(sys.executable, str(REPOSITORY / "tools" / "generate_formats.py"), "--check")
    assert done.exit == 0, done.stderr


@pytest.mark.parametrize("kind", [Plan, RecordLine, Verdict])
def test_every_field_is_documented(kind: Any) -> None:
    tables = documented()
    for name, struct in structs(kind).items():
        assert tables[name] == [(field.encode_name, type_name(field.type)) for field in struct.fields], name


def test_every_column_of_run_db_is_documented() -> None:
    tables = {name: columns for name, columns in documented().items() if name.startswith("Table")}
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA.read_text("utf-8"))
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        assert tables.keys() == {f"Table {name}" for name in names}
        for name in names:
            columns = db.execute('SELECT name, type, NOT "notnull" AND NOT pk FROM pragma_table_info(?)', (name,))
            expected = [(column, kind + " or null" * optional) for column, kind, optional in columns]
            assert tables[f"Table {name}"] == expected, name


def test_example_lines_are_of_their_kind() -> None:
    examples = re.findall(r"^### Line `(\w+)`.*?```json\n(.*?)```", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert {f"Line {kind}" for kind, _ in examples} == structs(RecordLine).keys()
    for kind, line in examples:
        assert json.loads(line)["kind"] == kind
        decode_line(line)


@pytest.fixture
def awkward(project: Project) -> Project:
    """A run with about everything that can happen to a test."""
    project.write(
        {
            "pyproject.toml": """
                [tool.pytest.ini_options]
                addopts = "-p no:randomly -p no:hypothesispytest --reruns 1 -m 'not slow'"
                markers = ["slow: takes long"]
                [tool.thebes.gates.quality]
                checks = ["sh -c 'exit 3'", "no-such-command"]
                """,
            "tests/test_one.py": """
                import pytest

                runs = []

                def test_flaky():
                    runs.append(1)
                    assert len(runs) > 1

                def test_failing(): print("\\x1b[31m\\u2028"); assert 0

                @pytest.mark.xfail
                def test_expected(): assert 0

                @pytest.mark.parametrize("x", ["a b", "ü"])
                def test_skipped(x): pytest.skip("no reason")

                @pytest.mark.slow
                def test_slow(): pass

                @pytest.fixture
                def broken(): yield; assert 0

                def test_teardown(broken): pass

                def test_parts(subtests):
                    with subtests.test("one"): assert 0
                """,
            "tests/test_two.py": "import no_such_module",
            "tests/test_three.py": "import pytest; pytest.skip('not here', allow_module_level=True)",
        }
    )
    assert project.run("--shards", "2").exit == 3
    return project


def test_what_is_really_written_fits_the_schemas_and_the_queries(awkward: Project) -> None:
    validator("plan").validate(json.loads((awkward.out / "plan.json").read_bytes()))
    validator("verdict").validate(awkward.verdict())
    record = validator("record")
    kinds = set()
    for path in awkward.out.glob("thebes-*/record.jsonl"):
        for line in lines(path.read_bytes()):
            record.validate(found := json.loads(line))
            kinds.add(found["kind"])
    assert {"header", "session", "collected", "deselected", "file", "note", "phase", "output", "closing"} <= kinds
    results = [awkward.query(query) for query in queries()]
    assert len(results) == 6
    assert ("tests/test_one.py::test_flaky", "failed, passed") in results[4]
    assert {row[0] for row in results[1]} >= {"tests/test_one.py::test_failing", "tests/test_one.py::test_teardown"}


def queries() -> Iterator[str]:
    yield from re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)


# ------------------------------------------------------------------------------------------------ refusals

OTHER = FORMAT + 1


def altered(name: str, **changes: Any) -> bytes:
    return msgspec.json.encode(json.loads(golden(name)) | changes)


def test_another_version_is_refused(tmp_path: Path) -> None:
    text = f"f: format {OTHER}, this version reads format {FORMAT}"
    with pytest.raises(FormatError, match=text):
        decode_plan(altered("plan.json", schema=OTHER, new_field=1), "f")
    with pytest.raises(FormatError, match=text):
        decode_verdict(altered("verdict.json", schema=OTHER), "f")
    path = tmp_path / "record.jsonl"
    first = json.loads(lines(golden("record.jsonl"))[0])
    path.write_bytes(msgspec.json.encode(first | {"schema": OTHER}))
    assert header(path) == f"format {OTHER}, this version reads format {FORMAT}"


def test_another_version_of_run_db_is_refused(tmp_path: Path) -> None:
    plan = decode_plan(golden("plan.json"), "p")
    path = merge([], plan, tmp_path, repository=tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(OTHER),))
        db.commit()
    with pytest.raises(FormatError, match=rf"run\.db: format {OTHER}, this version reads format {FORMAT}"):
        open_run(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM meta")
        db.commit()
    with pytest.raises(FormatError, match=r"run\.db: format None, this version reads"):
        open_run(tmp_path)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "f: Input data was truncated"),
        (golden("plan.json")[:-20], "f: Input data was truncated"),
        (b"\xff", "f: JSON is malformed"),
        (b"[1]", "f: Expected `object`, got `array`"),
        (b"{}", "f: Object missing required field `schema`"),
        (b'{"schema":"1"}', "f: Expected `int`, got `str` - at `$.schema`"),
        (altered("plan.json", extra=1), "f: Object contains unknown field `extra`"),
        (altered("plan.json", tasks=None), "f: Expected `array`, got `null` - at `$.tasks`"),
        (altered("plan.json", commit="another"), "f: the plan was changed after it was made"),
        (b'{"schema":1,"x":' + b"[" * 100_000, "f: maximum recursion depth exceeded"),
    ],
)
def test_what_is_no_plan_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(FormatError, match=re.escape(text)):
        decode_plan(data, "f")


DECODERS: dict[str, Callable[[bytes], object]] = {
    "plan.json": lambda data: decode_plan(data, "f"),
    "verdict.json": lambda data: decode_verdict(data, "f"),
    "record.jsonl": decode_line,
}


@given(st.data())
def test_damaged_files_raise_nothing_else(data: st.DataObject) -> None:
    """Any byte replaced, anything cut off or put between: a clear error, or something that is still valid."""
    name = data.draw(st.sampled_from(sorted(DECODERS)))
    whole = data.draw(st.sampled_from(lines(golden(name))))
    start, end = data.draw(st.tuples(*[st.integers(0, len(whole))] * 2))
    damaged = whole[:start] + data.draw(st.binary(max_size=4)) + whole[end:]
    with suppress(FormatError, *UNDECODABLE if name == "record.jsonl" else ()):
        DECODERS[name](damaged)


def test_a_record_with_brackets_without_end_is_only_broken(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_bytes(lines(golden("record.jsonl"))[0] + b'{"x":' + b"[" * 100_000 + b"\n")
    first = header(path)
    assert isinstance(first, Header)
    facts = read(path, first, Sinks(*[lambda *_: None] * 4))
    assert facts.broken == "line 2: maximum recursion depth exceeded while deserializing an object"


@pytest.mark.parametrize("line", lines(golden("record.jsonl")), ids=lambda line: str(json.loads(line)["kind"]))
def test_lines_with_unknown_keys_are_refused(line: bytes) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `extra`"):
        decode_line(msgspec.json.encode(json.loads(line) | {"extra": 1}))
