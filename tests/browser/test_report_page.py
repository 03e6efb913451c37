"""The report in a real browser: search, filters, links, keys, printing, and text that wants to be more than text."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Report, Reports
from browser.runs import HOSTILE, ROOT, SUITE, TASK, Run, hostile_run
from thebes import publish

OWNERS = "tests/ @core\ntests/test_login.py @web @core\n"
DIFFERENCE = """>   assert a == b
E   AssertionError: assert 1 == 2
E     - left
E     + right

src/app/auth.py:88: AssertionError"""
PHONE = {"width": 390, "height": 844}


def some_run() -> Run:
    run = Run()
    run.suite("integration-py3.13", "integration")
    for number in range(200):
        run.test(f"tests/test_{number % 7}.py::test_{number}")
    for number in range(3):
        run.failing(f"tests/test_login.py::test_login[{number}]", "src/app/auth.py", 88, "AssertionError: expired")
    run.failing("tests/test_db.py::test_db", "src/app/db.py", 5, "assert 1 == 2", suite="integration-py3.13")
    run.test("tests/test_diff.py::test_diff", "failed")
    run.phase("tests/test_diff.py::test_diff", "failed", "assert 1 == 2", DIFFERENCE, f"{ROOT}/tests/test_diff.py", 3)
    run.test("tests/test_0.py::test_skipped", "skipped")
    run.phase("tests/test_0.py::test_skipped", "skipped", "Skipped: not on Linux", "", f"{ROOT}/tests/test_0.py", 3)
    run.test("tests/test_0.py::test_flaky", flaky=1)
    run.phase("tests/test_0.py::test_flaky", "failed", "first time lucky", "E first", decides=0)
    run.check(["ruff", "check"], 0, "")
    run.add("finding", "quality-ruff", "src/app/db.py", 3, "F401", "error", "`os` imported but unused")
    run.coverage("unit", 87.5)
    for second in range(10):
        run.add("sample", TASK, "", 1000.0 + second, 50_000_000 + second * 1_000_000, second / 2)
    for number in range(6):
        run.test(f"tests/test_grows.py::test_{number}", memory=((300 + number) << 20, 3 << 20))
        run.test(f"tests/test_keeps.py::test_{number}", memory=(90 << 20, (70 << 20) * (number == 2)))
    for number, left in enumerate(("thread consumer, a daemon", "temporary file /tmp/" + "long" * 60)):
        run.add("leak", SUITE, f"tests/test_keeps.py::test_{number}", TASK, 1, "thread", left, 0)
    return run


def names(page: Page) -> list[str]:
    return page.locator(".row .name").all_inner_texts()


def test_verdict_reasons_and_failures_come_first(report: Reports) -> None:
    page = report(some_run()).page
    expect(page.locator("h1")).to_contain_text("FAIL")
    expect(page.locator("h1")).to_contain_text("unit: 4 tests failed")
    expect(page.locator(".cause")).to_have_count(3)
    first = page.locator(".cause").first
    expect(first.locator(".count")).to_have_text("3 tests")
    expect(first).to_contain_text("src/app/auth.py:88")
    expect(first).to_contain_text("python3.12 -m pytest 'tests/test_login.py::test_login[0]'")
    expect(first).to_contain_text("output of tests/test_login.py::test_login[0]")


def test_a_task_that_broke_shows_what_it_printed(report: Reports) -> None:
    run = Run()
    run.test("tests/test_a.py::test_a")
    run.problem("pytest-usage-error", TASK, "unrecognized arguments")
    run.db.execute("UPDATE task_attempt SET exit = 4, output = 'error: unrecognized arguments: -n'")
    page = report(run).page
    expect(page.locator("h1")).to_contain_text("INVALID")
    expect(page.locator(".cause pre")).to_have_text("error: unrecognized arguments: -n")
    expect(page.locator("#status")).to_have_text("1 broken task")


def test_search_and_filters_live_in_the_address(report: Reports) -> None:
    tab = report(some_run(), owners=OWNERS)
    page = tab.page
    page.get_by_role("link", name="Tests").click()
    expect(page.locator("#status")).to_contain_text("219 tests of 219")
    page.get_by_label("Search").fill("LOGIN [1]")
    expect(page.locator("#status")).to_contain_text("1 test of 219")
    assert "q=LOGIN+[1]" in tab.address()
    page.get_by_label("Search").fill("expired")  # a message
    expect(page.locator(".row")).to_have_count(3)
    page.get_by_label("Search").fill("")
    page.locator("select[name=outcome]").select_option("skipped")
    expect(page.locator(".row")).to_have_count(1)
    page.locator("select[name=outcome]").select_option("")
    page.locator("select[name=owner]").select_option("@web")
    expect(page.locator("#status")).to_contain_text("3 tests of 219")
    page.locator("input[name=file]").fill("nothing-like-this")
    expect(page.locator("#view")).to_contain_text("No test fits these filters.")


@pytest.mark.parametrize(
    ("fragment", "count"),
    [
        ("gate=integration", 1),
        ("suite=unit-py3.12", 218),
        (f"shard={TASK}", 218),
        ("outcome=failed", 5),
        ("outcome=flaky", 1),
        ("file=test_login", 3),
        ("owner=%40web", 3),
        ("gate=unit&outcome=failed&q=diff", 1),
        ("gate=<img src=x onerror=alert(1)>", 0),
    ],
)
def test_a_link_shows_what_was_shown(report: Reports, fragment: str, count: int) -> None:
    tab = report(some_run(), owners=OWNERS)
    tab.open(f"#tests?{fragment}")
    expect(tab.page.locator("#status")).to_contain_text(re.compile(rf"^{count} tests? of 219"))


def test_back_goes_back(report: Reports) -> None:
    tab = report(some_run())
    tab.page.get_by_role("link", name="Skips").click()
    tab.page.get_by_role("link", name="Slowest").click()
    tab.page.go_back()
    expect(tab.page.get_by_role("link", name="Skips")).to_have_attribute("aria-current", "page")


def test_a_test_opens_with_all_that_is_known(report: Reports) -> None:
    tab = report(some_run(), owners=OWNERS)
    tab.open(f"#tests?open={SUITE}|tests/test_diff.py::test_diff")
    dialog = tab.page.locator("dialog")
    expect(dialog).to_contain_text("tests/test_diff.py::test_diff")
    expect(dialog.locator(".add").first).to_have_text("+ right\n")
    expect(dialog.locator(".del").first).to_have_text("- left\n")
    expect(dialog).to_contain_text("owner @core")
    tab.page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    expect(tab.page).not_to_have_url(re.compile("[?&]open="))  # the page writes its address a moment later
    tab.open(f"#tests?open={SUITE}|tests/test_0.py::test_flaky")
    expect(dialog).to_contain_text("first time lucky")


def test_everything_works_by_keyboard(report: Reports) -> None:
    tab = report(some_run())
    keys = tab.page.keyboard
    keys.press("2")
    expect(tab.page.get_by_role("link", name="Tests")).to_have_attribute("aria-current", "page")
    keys.press("/")
    keys.type("login")
    expect(tab.page.locator(".row")).to_have_count(3)
    keys.press("Escape")
    keys.press("j")
    keys.press("j")
    keys.press("Enter")
    expect(tab.page.locator("dialog h2")).to_have_text("tests/test_login.py::test_login[1]")
    keys.press("Escape")
    keys.press("c")
    expect(tab.page.locator("#status")).to_contain_text("219 tests of 219")
    for _ in range(60):
        keys.press("j")
    expect(tab.page.locator(".row:focus")).to_have_attribute("aria-rowindex", "60")
    keys.press("?")
    expect(tab.page.locator("dialog")).to_contain_text("clear the filters")


@pytest.mark.parametrize(
    ("view", "text"),
    [
        ("slow", "Slowest files"),
        ("timeline", "planned 10.0 s"),
        ("flaky", "failed → passed"),
        ("skips", "not on Linux"),
        ("findings", "src/app/db.py:3"),
        ("coverage", "87.50 %"),
        ("memory", "56 MiB"),
        ("memory", "Left behindTestGrowthtests/test_keeps.py::test_2 unit-py3.1270 MiB"),
        ("memory", "tests/test_grows.py18 MiB6 of 6"),
        ("memory", "LeaksTestWhat it lefttests/test_keeps.py::test_0 unit-py3.12thread consumer, a daemon"),
    ],
)
@pytest.mark.parametrize("width", [390, 1280])
def test_every_view_shows_its_matter_and_fits_the_screen(report: Reports, view: str, text: str, width: int) -> None:
    tab = report(some_run(), viewport={"width": width, "height": 844})
    tab.open(f"#{view}")
    expect(tab.page.locator("#view")).to_contain_text(text)
    assert not tab.page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_printing_opens_the_failures_and_leaves_out_the_controls(report: Reports, tmp_path: Path) -> None:
    page = report(some_run()).page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator("#tabs")).not_to_be_visible()
    expect(page.locator("#filters")).not_to_be_visible()
    assert page.locator(".cause[open] .trace").count() >= 3
    expect(page.locator("#view")).to_contain_text("Slowest files")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    expect(page.locator(".cause")).to_have_count(3)
    assert page.pdf(path=tmp_path / "report.pdf").startswith(b"%PDF")


def test_nothing_of_a_test_executes_or_breaks_the_page(report: Reports) -> None:
    tab = report(hostile_run(), viewport=PHONE)
    tab.page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    expect(tab.page.locator(".cause:has(.count)")).to_have_count(2 * len(HOSTILE))
    for card in tab.page.locator(".cause:has(.count)").all():
        if card.get_attribute("open") is None:
            card.locator("summary").click()
        expect(card.locator(".command").first).to_be_visible()
    assert tab.page.locator("#view img, #view script, #view a[href^=http]").count() == 0
    assert tab.page.evaluate("document.documentElement.scrollHeight") < 200_000
    for view in ("tests", "slow", "flaky", "skips", "findings", "timeline"):
        tab.open(f"#{view}")
        assert not tab.page.evaluate("document.documentElement.scrollWidth > innerWidth"), view
        assert "\u202e" not in tab.page.locator("#view").inner_text()


def test_scripts_that_are_not_ours_do_not_run(report: Reports) -> None:
    tab = report(some_run())
    tab.page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.bad = 1'; document.body.append(s)"
    )
    assert tab.page.evaluate("window.bad") is None
    assert any("Content Security Policy" in error for error in tab.errors)
    tab.errors.clear()


def test_a_screen_reader_finds_its_way(report: Reports) -> None:
    page = report(some_run()).page
    for role, name in (("navigation", "Views"), ("search", "Filter the tests"), ("status", "")):
        expect(page.get_by_role(role, name=name)).to_be_visible()  # type: ignore[arg-type]
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, a, input, select')].filter(e => e.offsetParent &&"
        " !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map(e => e.outerHTML)"
    )
    assert unnamed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(report: Reports, scheme: str) -> None:
    """Contrast of at least 4.5 to 1, as WCAG asks for, in both schemes."""
    tab = report(some_run(), color_scheme=scheme)
    for view in ("failures", "tests", "timeline", "findings"):
        tab.open(f"#{view}")
        assert tab.page.evaluate(CONTRAST) == []


def test_a_hundred_thousand_tests_are_fast(report: Reports) -> None:
    run = Run()
    for number in range(100_000):
        run.test(f"tests/package_{number % 40}/test_{number % 1999}.py::TestThing::test_{number}[{number % 3}-value]")
    for number in range(500):
        run.failing(f"tests/test_f.py::test_{number}", "src/app/db.py", number % 90 + 1, f"assert {number}")
    tab: Report = report(run)
    ready = tab.page.evaluate("performance.getEntriesByName('ready')[0].startTime")
    assert ready < 3000, "a second on an idle machine; this one may be busy"
    tab.page.get_by_role("link", name="Tests").click()
    tab.page.evaluate("page.run.haystack()")
    spent = tab.page.evaluate(
        "const began = performance.now(); page.go({ q: 'test_4711 value' }, true); performance.now() - began"
    )
    assert spent < 300, "a tenth of a second on an idle machine"
    expect(tab.page.locator(".row").first).to_contain_text("test_4711")
    assert tab.page.locator(".row").count() < 100


CONTRAST = """
() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color[3] !== 0) return color;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.offsetParent || ["SCRIPT", "STYLE", "OPTION"].includes(e.tagName)) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push(`${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 20)} ${ratio}`);
  }
  return bad;
}
"""


def test_names_of_tests_are_whole_in_the_list(report: Reports) -> None:
    tab = report(some_run())
    tab.open("#tests?outcome=failed")
    assert "test_login[0] tests/test_login.py" in names(tab.page)


SOURCE = """def sign(value):
    if value > 0:
        return "plus"
    if value < 0:
        return "<b>minus</b>"  \u202e
    return "zero"


def debug():  # pragma: no cover
    return 1
"""
BOTH, FIRST = (SUITE, "unit-py3.11"), ("unit-py3.11",)


def covered_run() -> Run:
    run = some_run()
    run.suite("unit-py3.11", "unit")
    covers = {1: BOTH, 2: BOTH, 3: BOTH, 4: FIRST, 5: (), 6: FIRST}
    arcs = [(2, 3, BOTH), (2, 4, FIRST), (4, 5, ()), (4, 6, FIRST)]
    run.source("src/app/sign.py", SOURCE, covers, arcs, excluded=[9, 10], changed=[5, 6])
    run.source("src/app/full.py", "a = 1\nb = 2\n", {1: BOTH, 2: BOTH}, changed=[])
    for number in range(250):
        run.source(f"src/part/module_{number:03}.py", "a = 1\n", {1: FIRST}, changed=[])
    return run


def test_coverage_leads_from_the_total_to_the_line(report: Reports) -> None:
    tab = report(covered_run())
    page = tab.page
    tab.open("#coverage")
    expect(page.locator("#status")).to_contain_text("252 sources, 99.24 % of 258 statements and branches")
    expect(page.locator("#filters select:visible")).to_have_count(2)  # gate and suite; outcomes do not concern it
    first = page.locator("tbody tr", has=page.get_by_role("link", name="src/app/sign.py"))
    expect(first).to_contain_text("1 of 6")
    expect(first).to_contain_text("1 of 4")
    expect(first).to_contain_text("1 of 2")
    first.get_by_role("link").click()
    assert tab.address() == "#coverage?source=src/app/sign.py"
    expect(page.locator(".line.miss .text")).to_have_text('        return "<b>minus</b>"  \\u202e')
    expect(page.locator(".line.part")).to_contain_text("never went to line 5")
    expect(page.locator("#L4 .note")).to_contain_text("missed by unit-py3.12")
    expect(page.locator(".line.left")).to_have_count(2)
    expect(page.locator(".line.changed")).to_have_count(2)
    page.locator("#view").get_by_role("link", name=SUITE).click()
    expect(page.locator(".line.miss")).to_have_count(3)
    page.locator("#L6 a").click()
    page.reload()
    expect(page.locator("#L6")).to_be_in_viewport()
    expect(page.locator(".line.miss")).to_have_count(3)
    page.go_back()
    page.go_back()
    expect(page.locator(".line.miss")).to_have_count(1)
    page.get_by_role("link", name="all sources").click()
    expect(page.locator("#status")).to_contain_text("252 sources")
    page.keyboard.press("/")
    page.keyboard.type("app")
    expect(page.locator("#status")).to_contain_text("2 sources")


def test_a_source_that_is_open_is_what_is_printed(report: Reports, tmp_path: Path) -> None:
    tab = report(covered_run(), color_scheme="dark", viewport={"width": 600, "height": 800})
    tab.open("#coverage?source=src/app/sign.py")
    expect(tab.page.locator(".line.miss")).to_have_count(1)
    tab.page.emulate_media(media="print", color_scheme="dark")
    tab.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(tab.page.locator(".line.miss .text")).to_be_visible()
    expect(tab.page.locator("#status")).to_contain_text("1 of 6 statements")
    expect(tab.page.get_by_role("link", name="all sources")).not_to_be_visible()
    light = tab.page.evaluate("getComputedStyle(document.querySelector('.line.miss')).backgroundColor")
    assert light == "rgb(253, 232, 232)", "paper is light, whatever the screen is"
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 600
    assert tab.page.pdf(path=tmp_path / "source.pdf").startswith(b"%PDF")


@pytest.mark.parametrize("fragment", ["#coverage?source=nowhere.py", "#coverage?suite=nobody", "#coverage?line=9"])
def test_a_link_into_coverage_that_is_gone_says_so(report: Reports, fragment: str) -> None:
    tab = report(covered_run())
    tab.open(fragment)
    expect(tab.page.locator("#status")).to_contain_text("source")


def test_coverage_fits_a_phone_and_the_page_of_its_own(report: Reports, tmp_path: Path) -> None:
    tab = report(covered_run(), viewport={"width": 390, "height": 844})
    for fragment in ("#coverage", "#coverage?source=src/app/sign.py"):
        tab.open(fragment)
        expect(tab.page.locator("#view")).to_contain_text("sign.py")
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    run = covered_run()
    publish.html(run.db, run.verdict(), tmp_path / "coverage.html", only="coverage")
    tab.page.goto((tmp_path / "coverage.html").as_uri())
    expect(tab.page.locator("#tabs a")).to_have_text(["Coverage"])
    expect(tab.page.locator("#status")).to_contain_text("252 sources")
    tab.requests.clear()


def test_benchmarks_are_compared_within_their_group(report: Reports) -> None:
    run = some_run()
    for number in range(4):
        name = f"tests/test_speed.py::test_{number}"
        run.add(
            "benchmark", SUITE, TASK, name, "sort" if number % 2 else "", 1e-6, (number + 1) * 2e-6, 3e-6, 3e-7, 900
        )
    tab = report(run)
    tab.open("#benchmarks")
    expect(tab.page.locator("#status")).to_have_text("4 benchmarks")
    expect(tab.page.get_by_role("heading", name="sort")).to_be_visible()
    row = tab.page.locator("tbody tr", has_text="test_3")
    expect(row).to_contain_text("8.00 µs")
    expect(row).to_contain_text("3.00 µs ± 10 %")
    tab.open("#benchmarks?q=test_1")
    expect(tab.page.locator("#status")).to_have_text("1 benchmark")
