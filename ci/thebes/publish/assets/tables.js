// Slow tests and files, flaky tests, skips, findings.

function table(headings, rows) {
  return el(
    "table",
    { class: "stack" },
    el("thead", {}, el("tr", {}, ...headings.map((name) => el("th", { scope: "col", class: name.startsWith("#") ? "num" : null }, name.replace("#", ""))))),
    el("tbody", {}, ...rows),
  );
}

const cell = (text, kind) => el("td", { class: kind || null }, text);

function meter(share, low) {
  const bar = el("i", { class: low ? "low" : null });
  bar.style.width = `${Math.max(1, Math.min(100, share * 100))}%`;
  return el("td", { class: "meter", "aria-hidden": "true" }, bar);
}

function testButton(page, row) {
  const { run } = page;
  const show = () => page.go({ open: `${run.suite(row)[0]}|${run.id(row)}` });
  const suite = run.suites.length > 1 ? el("span", { class: "quiet" }, ` ${run.suite(row)[0]}`) : null;
  return el("td", { class: "wide-cell" }, el("button", { type: "button", class: "plain id item", click: show }, run.id(row)), suite);
}

function slowView(page, parent) {
  const { run } = page;
  const rows = select(run, page.state);
  const most = page.printing ? 20 : 100;
  const tests = [...sorted(run, rows, "slow").slice(0, most)].filter((row) => run.time[row] > 0);
  const files = fileTimes(run, rows);
  const all = rows.reduce((sum, row) => sum + run.time[row], 0);
  page.status(`${seconds(all)} in ${count(rows.length, "test")}, ${seconds(files.reduce((sum, file) => sum + file.imports, 0))} of imports`);
  if (!tests.length) return void parent.append(el("p", { class: "empty" }, "No test took any time."));
  const slowest = run.time[tests[0]];
  const top = files.slice(0, most);
  parent.append(
    el(
      "div",
      { class: "columns" },
      el(
        "section",
        {},
        el("h2", {}, "Slowest tests"),
        table(["Test", "", "#Time"], tests.map((row) => el("tr", {}, testButton(page, row), meter(run.time[row] / slowest), cell(seconds(run.time[row]), "num")))),
      ),
      el("section", {}, el("h2", {}, "Slowest files"), table(["File", "#Tests", "#Time", "#Import", "#Fixtures"], top.map((file) => fileRow(file)))),
    ),
  );
}

/** Per file: path, tests, seconds of tests, of import and of fixtures that serve several tests. */
function fileTimes(run, rows) {
  const files = new Map();
  for (const row of rows) {
    const [path, imports] = run.files[run.file[row]];
    let known = files.get(run.file[row]);
    if (!known) files.set(run.file[row], (known = { path, tests: 0, time: 0, imports, fixtures: 0 }));
    known.tests += 1;
    known.time += run.time[row];
    known.fixtures += (run.fixturesOf.get(row) || 0) / 10000;
  }
  return [...files.values()].sort((a, b) => b.time + b.imports - a.time - a.imports);
}

function fileRow(file) {
  const link = el("a", { class: "id item", href: address({ view: "tests" }, { file: file.path, sort: "slow" }) }, file.path);
  return el(
    "tr",
    {},
    el("td", { class: "wide-cell" }, link),
    cell(number.format(file.tests), "num"),
    cell(seconds(file.time), "num"),
    cell(seconds(file.imports), "num"),
    cell(seconds(file.fixtures), "num"),
  );
}

function flakyView(page, parent) {
  const { run } = page;
  const rows = select(run, page.state).filter((row) => run.attemptsOf.has(row));
  const flaky = rows.filter((row) => run.flaky(row));
  page.status(`${count(flaky.length, "flaky test")}, ${count(rows.length, "test")} with several attempts`);
  const history = new Map();
  for (const [row, outcome, message] of run.earlier) history.set(row, [...(history.get(row) || []), [outcome, message]]);
  const line = (row) => {
    const before = history.get(row) || [];
    return el(
      "tr",
      {},
      testButton(page, row),
      cell([...before.map(([outcome]) => outcome), run.outcomeOf(row)].join(" → ")),
      cell(number.format(run.attemptsOf.get(row).attempts), "num"),
      el("td", { class: "id wide-cell" }, before.length ? before[0][1] : ""),
    );
  };
  const ranked = [...flaky, ...rows.filter((row) => !run.flaky(row))];
  const body = el("tbody");
  const made = table(["Test", "Attempts", "#Number", "First failure"], []);
  made.replaceChild(body, made.lastChild);
  parent.append(made);
  moreRows(ranked, 200, line, body, parent);
}

/** Rows of a table in parts: the button stands below the table. */
function moreRows(items, size, make, body, parent) {
  let shown = 0;
  const more = el("button", { type: "button", class: "more", click: next });
  function next() {
    const part = items.slice(shown, shown + size);
    shown += part.length;
    body.append(...part.map(make));
    more.dataset.left = `… and ${number.format(items.length - shown)} more`; // on paper nobody can press it
    more.hidden = shown >= items.length;
    more.textContent = `Show ${number.format(Math.min(size, items.length - shown))} more of ${number.format(items.length - shown)}`;
  }
  next();
  parent.append(more);
}

function skipsView(page, parent) {
  const { run } = page;
  const left = new Set(select(run, page.state));
  const groups = run.skips
    .map(([kind, why, place, rows]) => ({ kind, why, place, rows: rows.filter((row) => row < 0 || left.has(row)), all: rows.length }))
    .filter((group) => group.rows.length)
    .sort((a, b) => b.rows.length - a.rows.length);
  page.status(count(groups.length, "reason"));
  const words = { skipped: "skipped", xfailed: "expected to fail", file: "file skipped itself" };
  const make = (group) => {
    const card = el(
      "details",
      { class: "cause" },
      el(
        "summary",
        { class: "item" },
        el("span", { class: "outcome skipped" }, count(group.rows.length, group.kind === "file" ? "file" : "test")),
        el("span", { class: "what" }, group.why || "no reason given"),
        el("span", { class: "where id" }, group.place),
        el("span", { class: "says quiet" }, words[group.kind] || group.kind),
      ),
    );
    card.addEventListener("toggle", () => card.childElementCount === 1 && card.append(skippedTests(page, group)));
    return card;
  };
  inParts(groups, 100, make, parent);
}

function skippedTests(page, group) {
  const list = el("ul", { class: "body" });
  const { run } = page;
  const make = (row) => {
    const show = () => page.go({ open: `${run.suite(row)[0]}|${run.id(row)}` });
    return el("li", {}, row < 0 ? group.place : el("button", { type: "button", class: "plain id", click: show }, run.id(row)));
  };
  return inParts(group.rows, 50, make, list);
}

function findingsView(page, parent) {
  const { run, state } = page;
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const rank = { error: 0, warning: 1 };
  const left = run.findings
    .filter((finding) => words.every((word) => finding.join(" ").toLowerCase().includes(word)))
    .filter((finding) => !state.file || finding[1].toLowerCase().includes(state.file.toLowerCase()))
    .sort((a, b) => (rank[a[4]] ?? 2) - (rank[b[4]] ?? 2));
  page.status(count(left.length, "finding"));
  const body = el("tbody");
  const made = table(["Place", "Rule", "Severity", "What", "Task"], []);
  made.replaceChild(body, made.lastChild);
  parent.append(made);
  const line = ([task, file, row, rule, severity, text]) =>
    el(
      "tr",
      {},
      el("td", { class: "id wide-cell" }, row ? `${file}:${row}` : file),
      el("td", { class: "id" }, rule),
      el("td", { class: severity === "error" ? "outcome failed" : "outcome flaky" }, severity),
      el("td", { class: "wide-cell" }, text),
      cell(task, "quiet"),
    );
  moreRows(left, 200, line, body, parent);
}
