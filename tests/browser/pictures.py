"""Pictures of the report in six states, to look at and for the documents: `python tests/browser/pictures.py FOLDER`.

Each state in light, in dark and at the width of a phone, the views of one of them, and all states on one sheet.
"""

import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser.conftest import FLAGS, chromium
from browser.runs import ROOT, SUITE, TASK, Run, hostile_run
from thebes import publish

MODES = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}
VIEWS = {
    "timeline": "timeline",
    "slow": "slow",
    "tests": "tests",
    "coverage": "coverage",
    "lines": "coverage?source=src/app/auth.py",
}
AUTH = """import hmac
import time

LIFETIME = 3600


def sign(user, key):
    \"\"\"A token that says who, and until when.\"\"\"
    until = int(time.time()) + LIFETIME
    body = f"{user}:{until}"
    return f"{body}:{hmac.digest(key, body.encode(), 'sha256').hex()}"


def check(token, key):
    body, _, digest = token.rpartition(":")
    if not hmac.compare_digest(hmac.digest(key, body.encode(), "sha256").hex(), digest):
        raise PermissionError("not our token")
    user, _, until = body.partition(":")
    if int(until) < time.time():
        raise PermissionError("token expired")
    return user


def debug(token):  # pragma: no cover
    print(token)
"""
DIFFERENCE = """    def test_profile(client):
        answer = client.get("/profile").json()
>       assert answer == {"name": "Ada", "plan": "pro"}
E       AssertionError: assert {'name': 'Ada', 'plan': 'free'} == {'name': 'Ada', 'plan': 'pro'}
E         Full diff:
E           {
E               'name': 'Ada',
E         -     'plan': 'pro',
E         +     'plan': 'free',
E           }

tests/test_api.py:14: AssertionError"""


def green() -> Run:
    run = Run()
    run.suite("integration-py3.12", "integration")
    for number in range(300):
        run.test(f"tests/test_{number % 9}.py::test_{number}")
    for number in range(40):
        run.test(f"tests/integration/test_{number % 3}.py::test_{number}", suite="integration-py3.12")
    run.check(["ruff", "check", "."], 0, "")
    run.check(["mypy"], 0, "")
    run.test("tests/test_1.py::test_registry", "skipped")
    run.phase("tests/test_1.py::test_registry", "skipped", "Skipped: needs Windows", "", f"{ROOT}/tests/test_1.py", 4)
    cover(run)
    for second in range(40):
        for worker, memory in (("gw0", 90 + second * 2), ("gw1", 70 + second % 7 * 3)):
            run.add("sample", TASK, worker, 1000 + second * 0.3, memory << 20, second * 0.2)
    run.db.execute(
        "UPDATE test SET worker = 'gw' || (rowid % 2), at = 1000.5 + rowid * 0.03, call = rowid % 17 * 0.008"
    )
    return run


def cover(run: Run) -> None:
    run.suite("unit-py3.11", "unit")
    for number in range(60):
        run.test(f"tests/test_{number % 9}.py::test_{number}", suite="unit-py3.11")
    both, old, new = ("unit-py3.11", SUITE), ("unit-py3.11",), (SUITE,)
    some = {1: both, 2: both, 4: both, 7: both, 9: both, 10: both, 11: both, 14: both, 15: both, 16: both, 17: old}
    arcs = [(16, 17, old), (16, 18, both), (19, 20, ()), (19, 21, both)]
    lines = {**some, 18: both, 19: both, 20: (), 21: both}
    run.source("src/app/auth.py", AUTH, lines, arcs, excluded=[24, 25], changed=[19, 20])
    for number, missing in enumerate((9, 4, 3, 1, 0, 0, 0)):
        name = ("queue", "memory", "agents", "routes", "models", "config", "errors")[number]
        text = "".join(f"value_{line} = {line}\n" for line in range(1, 60))
        known = {line: () if line <= missing else new if line == 40 else both for line in range(1, 60)}
        run.source(f"src/app/{name}.py", text, known, changed=[])
    rows = run.db.execute("SELECT sum(statements), sum(executed), sum(branches), sum(taken) FROM coverage_file")
    statements, executed, branches, taken = rows.fetchone()
    for gate in ("", "unit"):
        share = round(100 * (executed + taken) / (statements + branches), 2)
        run.add("coverage", ".", gate, share, "", statements, executed, branches, taken, 2, 1)


def three() -> Run:
    run = green()
    run.failing("tests/test_login.py::TestLogin::test_password", "src/app/auth.py", 88, "AssertionError: token expired")
    run.failing("tests/test_login.py::TestLogin::test_refresh", "src/app/auth.py", 88, "AssertionError: token expired")
    run.test("tests/test_api.py::test_profile", "failed")
    message = "AssertionError: assert {'name': 'Ada', 'plan': 'free'} == {'name': 'Ada', 'plan': 'pro'}"
    output = {"Captured stdout call": "GET /profile 200\n"}
    place = f"{ROOT}/tests/test_api.py"
    run.phase("tests/test_api.py::test_profile", "failed", message, DIFFERENCE, place, 14, output=output)
    run.test("tests/test_queue.py::test_retry", flaky=1)
    run.phase("tests/test_queue.py::test_retry", "failed", "TimeoutError: 5 s", "TimeoutError", decides=0)
    run.add("finding", "quality-ruff", "src/app/auth.py", 12, "F401", "error", "`os` imported but unused")
    return run


def invalid() -> Run:
    run = three()
    for shard in (2, 3, 4):
        name = f"{SUITE}-{shard}of4"
        run.add("task", name, SUITE, "pytest", 1, shard, 4, 10.0 + shard, "[]", None if shard == 3 else 1)
        ended = (1, None, None, 1000.5, 11.0) if shard == 2 else (None, None, None, 1000.5, None)
        if shard != 3:
            run.add("task_attempt", name, 1, 1, *ended, "{}", "===== 3 failed in 8 s =====", "r")
    run.problem("record-missing", f"{SUITE}-3of4", "no record of it was found; 12 files")
    run.problem("record-cut", f"{SUITE}-4of4", "the record breaks off while tests/test_z.py::test_hang was running")
    for number in range(30):
        run.test(f"tests/test_m.py::test_{number}", "missing")
    run.file("tests/test_c.py", "failed", "tests/test_c.py:1: in <module>\n    import nosuch\nE   ImportError: nosuch")
    run.problem("collection-failed", "tests/test_c.py", "ImportError: nosuch")
    return run


def many(tests: int, red: int) -> Run:
    run = Run()
    for number in range(tests - red):
        run.test(f"tests/part_{number % 40}/test_{number % 1999}.py::TestThing::test_{number}[{number % 3}-value]")
    for number in range(red):
        place = f"src/app/part_{number % 9}.py"
        message = f"AssertionError: expected {number}, got {number * 7 % 1000}"
        run.failing(f"tests/test_f{number % 50}.py::test_{number}", place, number % 97 + 1, message)
    return run


STATES = {
    "green": green,
    "three-failures": three,
    "many-failures": lambda: many(20_000, 3_000),
    "invalid": invalid,
    "large": lambda: many(100_000, 0),
    "hostile": hostile_run,
}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        for name, make in STATES.items():
            run = make()
            publish.html(run.db, run.verdict(), folder / f"{name}.html", owners="tests/ @core\n")
            for mode in MODES:
                _picture(browser, folder / f"{name}.html", mode, "")
        for view in VIEWS:
            for mode in MODES:
                _picture(browser, folder / "three-failures.html", mode, view)
        _sheet(browser, folder)
        browser.close()


def _sheet(browser: Browser, folder: Path) -> None:
    """states.png: a row for each state."""
    rows = "".join("<div>" + "".join(f'<img src="{name}-{mode}.png">' for mode in MODES) + "</div>" for name in STATES)
    page = folder / "states.html"
    style = "body { margin: 0; background: #888 } div { display: flex; gap: 8px; margin: 8px } img { height: 270px }"
    page.write_text(f"<!doctype html><style>{style}</style>{rows}", "utf-8")
    tab = browser.new_page(viewport={"width": 930, "height": 100})
    tab.goto(page.as_uri())
    tab.screenshot(path=folder / "states.png", full_page=True)
    tab.close()


def _picture(browser: Browser, page: Path, mode: str, view: str) -> None:
    context = browser.new_context(**MODES[mode])  # type: ignore[arg-type]
    tab = context.new_page()
    tab.goto(f"{page.as_uri()}#{VIEWS.get(view, view)}")
    tab.wait_for_function("performance.getEntriesByName('ready').length > 0")
    tab.wait_for_timeout(200)
    tab.screenshot(path=page.with_name("-".join(filter(None, (page.stem, mode, view))) + ".png"))
    context.close()


if __name__ == "__main__":
    main()
