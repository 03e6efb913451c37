// Coverage: totals, sources, and the lines of one with what each suite executed. Any subset of suites can be asked for.

const COVER_ORDERS = [
  ["", "most missing first"],
  ["low", "lowest share first"],
  ["changed", "changed lines first"],
  ["name", "by name"],
];

/** The suites that the filters leave, as numbers; null for all of them. */
function coverSuites(run, state) {
  if (!state.suite && !state.gate) return null;
  const fit = (name) => fits(run.suiteOf.get(name) || ["", ""], "", { ...state, shard: "" });
  return new Set(run.coverageSuites.map((name, i) => (fit(name) ? i : -1)).filter((i) => i >= 0));
}

const reaches = (suites, among) => (among ? suites.some((suite) => among.has(suite)) : suites.length > 0);

/** What `among` (null: anybody) executed of a source: statements, executed, branches, taken, changed, changed executed. */
function coverFigures(source, among) {
  const [, branches, sets] = source;
  const found = { statements: 0, executed: 0, branches, taken: branches, changed: 0, changedExecuted: 0 };
  for (const [suites, statements, arcs, changed] of sets) {
    const hit = reaches(suites, among);
    found.statements += statements;
    found.changed += changed;
    if (hit) found.executed += statements;
    else found.taken -= arcs;
    if (hit) found.changedExecuted += changed;
  }
  return found;
}

const coverShare = (found) => (found.statements + found.branches ? (found.executed + found.taken) / (found.statements + found.branches) : 1);

/** Two decimals; 0 and 100 are only ever the truth. */
function percent(share) {
  if (share === 0 || share === 1) return `${share * 100} %`;
  return `${Math.min(99.99, Math.max(0.01, share * 100)).toFixed(2)} %`;
}

function coverageView(page, parent) {
  const { run, state } = page;
  const source = state.source && run.sources.find((one) => one[0] === state.source);
  if (source && !page.printing) return void sourceView(page, parent, source);
  if (!page.printing) page.status("");
  if (run.coverage.length) parent.append(coverageTotals(run));
  if (run.sources.length) sourceList(page, parent, state.source && !source ? state.source : "");
  return undefined;
}

function coverageTotals(run) {
  const rows = run.coverage.map(([project, gate, share, text, statements, executed, branches, taken, changed, changedExecuted]) =>
    el(
      "tr",
      {},
      cell(`${project === "." ? "" : project + ": "}${gate || "all gates together"}`, "wide-cell"),
      cell(share === null ? text || "can't be told" : `${share.toFixed(2)} %`, "num"),
      share === null ? cell("") : meter(share / 100, share < 50),
      cell(statements ? `${number.format(executed)} of ${number.format(statements)} statements` : "", "num"),
      cell(branches ? `${number.format(taken)} of ${number.format(branches)} branches` : "", "num"),
      cell(changed ? `${number.format(changedExecuted)} of ${number.format(changed)} changed` : changed === 0 ? "nothing changed" : "", "num"),
    ),
  );
  return table(["Gate", "#Coverage", "", "#Statements", "#Branches", "#Changed lines"], rows);
}

function sourceList(page, parent, unknown) {
  const { run, state } = page;
  const among = coverSuites(run, state);
  const words = `${state.q} ${state.file}`.toLowerCase().split(/\s+/).filter(Boolean);
  const left = run.sources
    .filter(([path, , , , measured]) => (!among || measured.some((suite) => among.has(suite))) && words.every((word) => path.toLowerCase().includes(word)))
    .map((source) => ({ source, found: coverFigures(source, among) }));
  const missing = ({ found }) => found.statements - found.executed + found.branches - found.taken;
  const open = ({ found }) => found.changed - found.changedExecuted;
  const orders = {
    low: (a, b) => coverShare(a.found) - coverShare(b.found) || missing(b) - missing(a),
    changed: (a, b) => open(b) - open(a) || b.found.changed - a.found.changed,
    name: () => 0,
  };
  left.sort(orders[state.sort] || ((a, b) => missing(b) - missing(a)));
  const all = left.reduce((sum, { found }) => Object.fromEntries(Object.keys(found).map((key) => [key, (sum[key] || 0) + found[key]])), {});
  const sort = el("select", { change: (event) => page.go({ sort: event.target.value }) });
  for (const [value, name] of COVER_ORDERS) sort.append(el("option", { value, selected: value === state.sort }, name));
  const told = left.length ? `${count(left.length, "source")}, ${percent(coverShare(all))} of ${number.format(all.statements)} statements${all.branches ? " and branches" : ""}` : "No source fits these filters.";
  page.status(told, el("label", {}, "Order ", sort));
  if (unknown) parent.append(el("p", { class: "empty" }, `No source ${unknown} was measured.`));
  if (!left.length) return;
  const changes = left.some(({ source }) => source[3]);
  const body = el("tbody");
  const made = table(["Source", "#Coverage", "", "#Statements missing", "#Branches missing", ...(changes ? ["#Changed missing"] : [])], []);
  made.replaceChild(body, made.lastChild);
  parent.append(el("h2", {}, "Sources"), made);
  const line = ({ source, found }) => sourceRow(state, source, found, changes);
  moreRows(left, page.printing ? 40 : 200, line, body, parent);
}

function sourceRow(state, source, found, changes) {
  const share = coverShare(found);
  const missing = found.statements - found.executed;
  const branches = found.branches - found.taken;
  const open = found.changed - found.changedExecuted;
  return el(
    "tr",
    {},
    el("td", { class: "wide-cell" }, el("a", { class: "id item", href: address(state, { source: source[0] }) }, source[0])),
    cell(percent(share), "num"),
    meter(share, share < 0.5),
    cell(missing ? `${number.format(missing)} of ${number.format(found.statements)}` : "–", "num"),
    cell(branches ? `${number.format(branches)} of ${number.format(found.branches)}` : "–", "num"),
    changes ? cell(open ? `${number.format(open)} of ${number.format(found.changed)}` : found.changed ? "–" : "", open ? "num outcome failed" : "num") : null,
  );
}

async function sourceView(page, parent, source) {
  const { run, state } = page;
  const among = coverSuites(run, state);
  const found = coverFigures(source, among);
  const whose = among ? `by ${state.suite || state.gate}` : "by any task";
  page.status(`${percent(coverShare(found))} ${whose}: ${number.format(found.statements - found.executed)} of ${count(found.statements, "statement")} and ${number.format(found.branches - found.taken)} of ${count(found.branches, "branch", "branches")} missing`);
  parent.append(
    el("p", { class: "back" }, el("a", { href: address(state, { source: "", line: "" }) }, "← all sources")),
    el("h2", { class: "id" }, source[0]),
  );
  if (source[4].length > 1) parent.append(bySuite(run, state, source));
  const text = await run.text(source[5]);
  if (!parent.isConnected || page.state.source !== source[0]) return;
  if (!text) {
    parent.append(el("p", { class: "empty" }, "The lines of this source did not fit into this page; coverage.html has all of them."));
    return;
  }
  parent.append(el("p", { class: "quiet legend" }, "✕ never executed · ◐ a branch never taken · ○ excluded · ┃ changed"));
  parent.append(codeLines(run, state, source, text, among));
  const target = state.line && byId(`L${state.line}`);
  if (target) target.scrollIntoView({ block: "center" });
  else byId("tabs").scrollIntoView();
}

/** Which Python or suite missed how much. */
function bySuite(run, state, source) {
  const rows = source[4].map((suite) => {
    const found = coverFigures(source, new Set([suite]));
    const name = run.coverageSuites[suite];
    const here = state.suite === name;
    return el(
      "tr",
      {},
      el("td", { class: "wide-cell" }, el("a", { class: "id", href: address(state, { suite: here ? "" : name }), "aria-current": here ? "true" : null }, name)),
      cell(percent(coverShare(found)), "num"),
      meter(coverShare(found), coverShare(found) < 0.5),
      cell(`${number.format(found.statements - found.executed)} missed`, "num"),
    );
  });
  return table(["Suite", "#Coverage", "", "#Statements"], rows);
}

function codeLines(run, state, source, text, among) {
  const [code, statements, covers, sets, excluded, arcs, changed, contexts] = text;
  const hit = sets.map((suites) => reaches(suites, among));
  const asked = source[4].filter((suite) => !among || among.has(suite));
  const coverOf = new Map(statements.map((line, i) => [line, covers[i]]));
  const left = new Set(excluded);
  const touched = new Set(changed);
  const open = new Map();
  for (const [line, end, by] of arcs) if (!hit[by]) open.set(line, [...(open.get(line) || []), end <= -1e9 ? "one of its branches" : end < 0 ? "the end" : `line ${end}`]);
  const box = el("div", { class: "code" });
  let before = "";
  let gap = false;
  code.split("\n").forEach((content, index) => {
    const line = index + 1;
    const set = coverOf.get(line);
    const missing = set !== undefined && !hit[set];
    const partial = !missing && open.has(line);
    const kind = left.has(line) ? "left" : set === undefined ? "" : missing ? "miss" : partial ? "part" : "hit";
    const absent = set === undefined || missing ? [] : asked.filter((suite) => !sets[set].includes(suite));
    const names = absent.map((suite) => run.coverageSuites[suite]).join(", ");
    const notes = [];
    if (partial) notes.push(`never went to ${open.get(line).join(", ")}`);
    if (names && names !== before) notes.push(`missed by ${names}`);
    if (set !== undefined) before = names;
    const sign = { miss: "✕", part: "◐", left: "○" }[kind] || "";
    const first = missing && !gap;
    if (set !== undefined) gap = missing;
    box.append(
      el(
        "div",
        { class: `line ${kind}${touched.has(line) ? " changed" : ""}${first ? " item" : ""}${String(line) === state.line ? " target" : ""}`, id: `L${line}`, tabindex: first ? 0 : null, title: contexts[line] ? contexts[line].join("\n") : null },
        el("a", { class: "no", href: address(state, { line: String(line) }), "aria-label": `line ${line}` }, String(line)),
        el("span", { class: "sign", "aria-label": { miss: "never executed", part: "a branch never taken", left: "excluded" }[kind] || null, role: sign ? "img" : null }, sign),
        el("span", { class: "text" }, content || " "),
        notes.length ? el("span", { class: "note" }, notes.join(" · ")) : null,
      ),
    );
  });
  return box;
}
