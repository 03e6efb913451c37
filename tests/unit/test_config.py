import datetime as dt
import re
import tomllib
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.project import REPOSITORY, Project
from thebes.config import Baseline, Config, GateConfig, PlanConfig, Quarantine, ServiceConfig, load, parse
from thebes.config.values import seconds
from thebes.errors import InputError

REFUSED = {
    "[tool.thebes": "p: not TOML: Expected ']'",
    "tool = 3": "p: tool: expected a table, found 3",
    "tool.thebes = 3": "p: tool.thebes: expected a table, found 3",
    "[[tool.thebes]]": "p: tool.thebes: expected a table, found [{}]",
    f"x = {'1' * 5000}": "p: not TOML: Exceeds the limit",
    f"x = {'[' * 5000}": "p: not TOML: maximum recursion depth exceeded",
    "max_shards = 3": "p: tool.thebes: unknown key 'max_shards'; did you mean 'max-shards'?",
    "zzz = 3": "p: tool.thebes: unknown key 'zzz'; there are python, interpreter, projects, args, shards, max-shards, ",
    "shards = '3'": "p: tool.thebes.shards: Expected `int | null`, got `str`",
    "shards = 0": "p: tool.thebes.shards: 0 is not at least 1",
    "max-shards = -1": "p: tool.thebes.max-shards: -1 is not at least 1",
    "target = 120": "p: tool.thebes.target: Expected `str | null`, got `int`",
    "target = '120'": "p: tool.thebes.target: '120' is not a duration; expected a number with its unit, as in",
    "target = '0s'": "p: tool.thebes.target: '0s' is not a duration",
    "task-limit = '2 hours'": "p: tool.thebes.task-limit: '2 hours' is not a duration",
    "workers = 'many'": "p: tool.thebes.workers: 'many' is neither \"auto\" nor a number",
    "workers = 2": "p: tool.thebes.workers: Expected `str | null`, got `int`",
    "python = '3.12'": "p: tool.thebes.python: Expected `array`, got `str`",
    "python = ['3.12', '4']": "p: tool.thebes.python: '4' is not a version such as \"3.12\"",
    "python = ['3.١']": "p: tool.thebes.python: '3.١' is not a version such as \"3.12\"",
    "projects = []": "p: tool.thebes.projects: an empty list; expected folders",
    "projects = ['/a']": "p: tool.thebes.projects: '/a' is not a folder inside the repository",
    "projects = ['a/../..']": "p: tool.thebes.projects: 'a/../..' is not a folder inside the repository",
    "projects = ['./a']": "p: tool.thebes.projects: './a' has a plainer form; write 'a'",
    "projects = ['a', 'b', 'a']": "p: tool.thebes.projects: 'a' stands there 2 times",
    "required-gates = ['units']": "p: tool.thebes.required-gates: unknown key 'units'; did you mean 'unit'?",
    "gates = 3": "p: tool.thebes.gates: expected a table, found 3",
    "gates.quallity = {}": "p: tool.thebes.gates: unknown key 'quallity'; did you mean 'quality'?",
    "gates.unit = 3": "p: tool.thebes.gates.unit: expected a table, found 3",
    "gates.unit.path = ['a']": "p: tool.thebes.gates.unit: unknown key 'path'; did you mean 'paths'?",
    "gates.unit.paths = 'tests'": "p: tool.thebes.gates.unit.paths: Expected `array`, got `str`",
    "gates.unit.coverage = 101": "p: tool.thebes.gates.unit.coverage: 101 is not between 0 and 100",
    "gates.unit.coverage = nan": "p: tool.thebes.gates.unit.coverage: nan is not between 0 and 100",
    "gates.unit.changes = 'a'": "p: tool.thebes.gates.unit.changes: Expected `array`, got `str`",
    "baseline = [{rule = 'a', file = 'b'}]": "p: tool.thebes.baseline[0]: Object missing required field `owner`",
    "baseline = [{rules = 'a'}]": "p: tool.thebes.baseline: unknown key 'rules'; did you mean 'rule'?",
    "gates.unit.services = 'redis'": "p: tool.thebes.gates.unit.services: Expected `object | array`, got `str`",
    "gates.unit.services = ['rediss']": "gates.unit.services: unknown key 'rediss'; did you mean 'redis'?",
    "gates.unit.services = { postgres = [] }": "services.postgres: expected different versions",
    "gates.unit.services = { postgres = ['1', '1'] }": "expected different versions, found ['1', '1']",
    "gates.unit.services = { redis = ['; rm'] }": "services.redis: '; rm' is not a version such as \"16\"",
    "services = 3": "p: tool.thebes.services: expected a table, found 3",
    "services.redis.source = ['url']": "p: tool.thebes.services.redis: unknown key 'source'; did you mean 'sources'?",
    "services.redis.sources = ['urls']": "services.redis.sources: unknown key 'urls'; did you mean 'url'?",
    "services.redis.variables = ['A=B']": "'A=B' is not the name of an environment variable",
    "services.redis.limit = '1'": "p: tool.thebes.services.redis.limit: '1' is not a duration",
    "services.redis.port = 1": "services.redis.port: not for redis, which ships; give yours another name",
    "services.neo4j = {}": "p: tool.thebes.services.neo4j: without compose; a service needs compose, port, url",
    "services.neo4j = { image = 'a' }": "p: tool.thebes.services.neo4j.image: only for postgres and redis",
    "services.neo4j = { compose = 'a', port = 0, url = 'u' }": "services.neo4j.port: 0 is not between 1 and 65535",
    "services.neo4j = { compose = 'a', port = 1, url = 'u' }": "services.neo4j.url: 'u' is without the place {port}",
    "services.neo4j = { compose = 'a', port = 1, url = '{x}' }": "'{x}' has other places than {host} and {port}",
    "services.Neo = {}": "p: tool.thebes.services.Neo: 'Neo' is not a name of small letters, digits, _ and -",
    "labels = { docs = 'docs' }": "p: tool.thebes.labels[...]: Expected `array`, got `str`",
    "labels = { docs = [] }": "p: tool.thebes.labels: 'docs': expected a label of 50 characters at most, with globs",
    f"labels.{'x' * 51} = ['a']": "expected a label of 50 characters at most",
    "profiles = 3": "p: tool.thebes.profiles: expected a table, found 3",
    "profiles.night = 3": "p: tool.thebes.profiles.night: expected a table, found 3",
    "profiles.Night = {}": "profiles.Night: 'Night' is not a name of small letters, digits, _ and -",
    "profiles.night.gates = ['unit']": "profiles.night: unknown key 'gates'; did you mean 'gate'?",
    "profiles.night.gate = ['units']": "profiles.night.gate: unknown key 'units'; did you mean 'unit'?",
    "profiles.night.speed = ['quick']": "profiles.night.speed: unknown key 'quick'; there are fast, medium, slow",
    "profiles.night.speed = 'fast'": "profiles.night.speed: Expected `array`, got `str`",
    "profiles.night.jobs = 0": "profiles.night.jobs: 0 is not at least 1",
    "profiles.night.test-limit = '30'": "profiles.night.test-limit: '30' is not a duration",
    "profiles.night.memory-limit = '1'": "profiles.night.memory-limit: '1' is not a size",
    "profiles.night.workers = 'x'": "profiles.night.workers: 'x' is neither \"auto\" nor a number",
    "profiles.night.python = ['3']": "profiles.night.python: '3' is not a version",
    "speed-classes = ['1s']": "p: tool.thebes.speed-classes: Expected `array` of length 2, got 1",
    "speed-classes = ['1s', '100ms']": "speed-classes: '1s' is not less than '100ms'; expected where medium begins",
    "quarantine = {}": "p: tool.thebes.quarantine: Expected `array`, got `object`",
    "quarantine = [3]": "p: tool.thebes.quarantine: expected a table, found 3",
    "quarantine = [{test = 'a', owner = 'b'}]": "p: tool.thebes.quarantine[0]: Object missing required field `expires`",
    "quarantine = [{test = 'a', owner = 'b', expire = 2030-01-01}]": "unknown key 'expire'; did you mean 'expires'?",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:50])
def test_what_is_refused_is_named_with_its_place(text: str) -> None:
    inside = text if re.match(r"\[|tool|x ", text) else f"[tool.thebes]\n{text}"
    with pytest.raises(InputError, match=re.escape(REFUSED[text])):
        parse(inside, "p")


def test_everything_has_a_default(project: Project) -> None:
    assert load(project.root) == parse("", "p") == parse("[tool.other]\nx = 1", "p") == Config()


def test_what_cannot_be_read_is_refused(project: Project) -> None:
    path = project.root / "pyproject.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="can't be read"):
        load(project.root)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="can't be read"):
        load(project.root)


def test_every_key_is_read() -> None:
    found = parse(
        """
        [tool.thebes]
        python = ["3.11", "3.14"]
        interpreter = "env/bin/python"
        projects = [".", "api"]
        args = ["-p", "no:randomly"]
        shards = 4
        max-shards = 8
        target = "1.5m"
        workers = "auto"
        task-limit = "90s"
        required-gates = ["unit"]
        history = "postgresql://ci@db/thebes"
        [tool.thebes.gates.unit]
        paths = ["tests/unit"]
        marker = "not slow"
        coverage = 85
        checks = ["ruff check ."]
        services = { postgres = ["16", "18"], neo4j = ["5"] }
        [tool.thebes.services.postgres]
        sources = ["docker", "url"]
        variables = ["DATABASE_URL"]
        limit = "2m"
        image = "mirror/postgres"
        [tool.thebes.services.neo4j]
        compose = "compose.yaml"
        service = "graph"
        port = 7687
        url = "bolt://{host}:{port}"
        [[tool.thebes.quarantine]]
        test = "tests/test_a.py::test_b"
        owner = "ann"
        expires = 2030-01-31
        reason = "issue 7"
        """,
        "p",
    )
    assert found == Config(
        python=("3.11", "3.14"),
        interpreter="env/bin/python",
        projects=(".", "api"),
        args=("-p", "no:randomly"),
        shards=4,
        max_shards=8,
        target="1.5m",
        workers="auto",
        task_limit="90s",
        required_gates=("unit",),
        history="postgresql://ci@db/thebes",
        gates={
            "unit": GateConfig(
                paths=("tests/unit",),
                marker="not slow",
                coverage=85.0,
                checks=("ruff check .",),
                services={"postgres": ("16", "18"), "neo4j": ("5",)},
            ),
        },
        services={
            "postgres": ServiceConfig(
                sources=("docker", "url"), variables=("DATABASE_URL",), limit="2m", image="mirror/postgres"
            ),
            "neo4j": ServiceConfig(compose="compose.yaml", service="graph", port=7687, url="bolt://{host}:{port}"),
        },
        quarantine=(
            Quarantine(test="tests/test_a.py::test_b", owner="ann", expires=dt.date(2030, 1, 31), reason="issue 7"),
        ),
    )


@given(st.sampled_from(["ms", "s", "m", "h"]), st.integers(1, 10**6))
def test_durations_have_units(unit: str, number: int) -> None:
    assert seconds(f"{number}{unit}", "p") == number * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


# Tables that come close to being right: our keys and gates, with values of any kind and sometimes a fitting one.
words = st.sampled_from(["auto", "3.12", "2m", "unit", "tests", ".", "..", "", "\x00", "é", "1e400s"])
numbers = st.integers() | st.floats()
scalars = words | st.text(max_size=5) | numbers | st.booleans() | st.dates() | st.times()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=8
)


def keys(kind: type[msgspec.Struct]) -> st.SearchStrategy[str]:
    return st.sampled_from([field.encode_name for field in msgspec.structs.fields(kind)]) | words


gates = st.dictionaries(
    st.sampled_from(["unit", "quality"]) | words, st.dictionaries(keys(GateConfig), values) | values
)
quarantine = st.lists(st.dictionaries(keys(Quarantine), values) | values, max_size=2)
tables = st.dictionaries(keys(Config), values) | st.builds(
    lambda table, gate, entries: {**table, "gates": gate, "quarantine": entries},
    st.dictionaries(keys(Config), values),
    gates,
    quarantine,
)


def toml(value: Any) -> str:
    """`value` as an inline TOML value."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            return '"' + "".join(f"\\U{ord(character):08X}" for character in value) + '"'
        case dt.date() | dt.time():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(toml, value))}]"
    return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"


@given(st.one_of(st.text(), tables.map(lambda table: f"tool.thebes = {toml(table)}")))
def test_any_text_is_a_configuration_or_refused_in_one_way(text: str) -> None:
    with suppress(InputError):
        assert isinstance(parse(text, "pyproject.toml"), Config)


def test_documentation_describes_every_key_and_its_examples_are_right() -> None:
    text = (REPOSITORY / "docs" / "configuration.md").read_text("utf-8")
    used: set[str] = set()
    for example in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        parse(example, "docs/configuration.md")
        table = tomllib.loads(example).get("tool", {}).get("thebes", {})
        used |= table.keys()
        used |= {f"plan.{key}" for key in table.get("plan", {})}
        for gate in table.get("gates", {}).values():
            used |= {f"gates.{key}" for key in gate}
        for service in table.get("services", {}).values():
            used |= {f"services.{key}" for key in service}
        for name in ("quarantine", "baseline"):
            used |= {f"{name}.{key}" for entry in table.get(name, []) for key in entry}
    known = {field.encode_name for field in msgspec.structs.fields(Config)}
    known |= {f"gates.{field.encode_name}" for field in msgspec.structs.fields(GateConfig)}
    known |= {f"services.{field.encode_name}" for field in msgspec.structs.fields(ServiceConfig)}
    known |= {f"plan.{field.encode_name}" for field in msgspec.structs.fields(PlanConfig)}
    known |= {f"quarantine.{field.encode_name}" for field in msgspec.structs.fields(Quarantine)}
    known |= {f"baseline.{field.encode_name}" for field in msgspec.structs.fields(Baseline)}
    assert used == known
    described = set(re.findall(r"^\| `([a-z.-]+)` \|", text, re.MULTILINE))
    # The keys of a profile are options: test_select.py
    assert known - {"gates", "plan", "services", "quarantine", "baseline"} <= described
