// All tests, and everything about one of them.

const SORTS = [
  ["", "failures first"],
  ["slow", "slowest first"],
  ["run", "as they ran"],
  ["name", "by name"],
];

function testsView(page, parent) {
  const { run, state } = page;
  const rows = sorted(run, select(run, state), state.sort);
  const sort = el("select", { change: (event) => page.go({ sort: event.target.value }) });
  for (const [value, name] of SORTS) sort.append(el("option", { value, selected: value === state.sort }, name));
  page.status(`${count(rows.length, "test")} of ${number.format(run.length)}`, el("label", {}, "Order ", sort));
  if (!rows.length) {
    parent.append(el("p", { class: "empty" }, "No test fits these filters."));
    return;
  }
  page.rows = new Rows(parent, rows.length, (index) => testRow(page, rows[index]), "Tests");
}

function testRow(page, row) {
  const { run } = page;
  const outcome = run.outcomeOf(row);
  const show = () => page.go({ open: `${run.suite(row)[0]}|${run.id(row)}` });
  return el(
    "div",
    { class: "row item", role: "row", tabindex: 0, click: show, keydown: (event) => event.key === "Enter" && show() },
    el("span", { role: "cell", class: `outcome ${outcome}` }, run.flaky(row) ? `${outcome} ⟲` : outcome),
    el("span", { role: "cell", class: "name id", title: run.id(row) }, run.name[row] || run.path(row), " ", el("span", { class: "file" }, run.path(row))),
    el("span", { role: "cell", class: "suite quiet" }, run.suite(row)[0]),
    el("span", { role: "cell", class: "num" }, seconds(run.time[row])),
  );
}

/** The row that "suite|id" names, or -1. */
function findRow(run, open) {
  const [suite, ...rest] = open.split("|");
  const id = rest.join("|");
  for (let i = 0; i < run.length; i++) {
    if (id.endsWith(run.name[i]) && run.suite(i)[0] === suite && run.id(i) === id) return i;
  }
  return -1;
}

async function fillDialog(page, dialog, open) {
  const { run } = page;
  const row = findRow(run, open);
  const failure =
    row >= 0 ? run.failures[run.failureOf.get(row)] : run.failures.find((one) => one[1] < 0 && `${one[3]}|${one[2]}` === open);
  dialog.replaceChildren(
    el("button", { type: "button", class: "close", click: () => dialog.close(), "aria-label": "Close" }, "✕"),
    el("h2", { class: "id" }, open.slice(open.indexOf("|") + 1)),
  );
  if (row < 0 && !failure) {
    dialog.append(el("p", {}, "There is no such test in this run."));
    return;
  }
  if (row >= 0) dialog.append(chips(page, row), times(run, row));
  if (failure) {
    const text = await run.text(failure[6]);
    dialog.append(...told(text), ...reproduction(text ? text[3] : commandOf(run, failure)));
  } else {
    const why = run.skips.find((skip) => skip[3].includes(row));
    if (why) dialog.append(el("h3", {}, "Reason"), el("pre", {}, why[1] + (why[2] ? `\n${why[2]}` : "")));
    dialog.append(...reproduction(run.command(row)));
  }
  if (row >= 0) await earlierAttempts(run, row, dialog);
}

function chips(page, row) {
  const { run } = page;
  const [suite, gate, python, services] = run.suite(row);
  const task = run.taskNames[run.task[row]];
  const worker = run.workerNames[run.worker[row]];
  const outcome = run.outcomeOf(row);
  const link = (text, changes) => el("a", { class: "chip", href: address({ view: "tests" }, changes), click: () => page.shut() }, text);
  return el(
    "p",
    {},
    el("span", { class: `chip outcome ${outcome}` }, outcome),
    run.flaky(row) ? el("span", { class: "chip outcome flaky" }, "flaky") : null,
    link(`gate ${gate}`, { gate }),
    link(suite, { suite }),
    link(`task ${task}`, { shard: task }),
    link("this file", { file: run.path(row) }),
    run.owner(row) ? link(`owner ${run.owner(row)}`, { owner: run.owner(row).split(" ")[0] }) : null,
    worker ? el("span", { class: "chip" }, `worker ${worker}`) : null,
    python ? el("span", { class: "chip" }, `Python ${python}`) : null,
    services ? el("span", { class: "chip" }, services) : null,
  );
}

function times(run, row) {
  const parts = [["Set-up", run.setup[row]], ["Call", run.call[row]], ["Teardown", run.teardown[row]]];
  if (run.fixturesOf.has(row)) parts.push(["of it in shared fixtures", run.fixturesOf.get(row)]);
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, ...parts.map(([name]) => el("th", {}, name)), el("th", {}, "Attempts"))),
    el(
      "tbody",
      {},
      el("tr", {}, ...parts.map(([, ticks]) => el("td", {}, seconds(ticks / 10000))), el("td", {}, (run.attemptsOf.get(row) || { attempts: 1 }).attempts)),
    ),
  );
}

async function earlierAttempts(run, row, parent) {
  const earlier = run.earlier.filter((one) => one[0] === row);
  for (const [index, [, outcome, message, reference]] of earlier.entries()) {
    parent.append(el("h3", {}, `Earlier attempt ${index + 1}: ${outcome}`), message ? el("p", { class: "id" }, message) : "");
    const text = await run.text(reference);
    if (text) parent.append(...told(text));
  }
}
