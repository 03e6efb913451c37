// Failures by cause, and what is known of one of them.

const MARKS = [
  [/^E\s+\+(?!\+\+) /, "add"],
  [/^E\s+-(?!--) /, "del"],
  [/^E\s+\? /, "hint"],
  [/^E( |$)/, "e"],
  [/^>/, "now"],
  [/^[^\s:>][^:]*:\d+: /, "at"],
];

const CHANGES = [
  [/^\+/, "add"],
  [/^-/, "del"],
  [/^\?/, "hint"],
];

/** A traceback with its parts told apart; lines of one kind share an element. */
function trace(text, marks) {
  const box = el("pre", { class: "trace", tabindex: 0 });
  let kind = null;
  let lines = [];
  const flush = () => {
    if (lines.length) box.append(el("span", { class: kind || null }, lines.join("\n") + "\n"));
    lines = [];
  };
  for (const line of text.split("\n")) {
    const found = (marks || MARKS).find(([pattern]) => pattern.test(line));
    const now = found ? found[1] : "";
    if (now !== kind) flush();
    kind = now;
    lines.push(line);
  }
  flush();
  return box;
}

/** The lines of a comparison, if the traceback has one. */
function difference(text) {
  const lines = text.split("\n").filter((line) => /^E\s+[-+?] /.test(line));
  return lines.length > 1 ? trace(lines.map((line) => line.replace(/^E\s+(?=[-+?] )/, "")).join("\n"), CHANGES) : null;
}

/** What was recorded of a failing phase, as elements. */
function told(text) {
  if (!text) return [el("p", { class: "quiet" }, "The full text did not fit into this page; junit.xml and run.db have it.")];
  const [when, body, outputs] = text;
  const compared = difference(body);
  return [
    compared && el("h3", {}, "Difference ", el("small", { class: "quiet" }, "− right, + left side of the comparison")),
    compared,
    el("h3", {}, when === "check" ? "Output" : when ? `Traceback (${when})` : "Traceback"),
    trace(body),
    ...outputs.flatMap(([heading, output]) => [el("h3", {}, heading), el("pre", { tabindex: 0 }, output)]),
  ].filter(Boolean);
}

function reproduction(command) {
  if (!command) return [];
  return [el("h3", {}, "Reproduce"), el("div", { class: "command" }, el("pre", {}, command), copyButton(command))];
}

function failureName(run, failure) {
  return failure[1] >= 0 ? run.id(failure[1]) : failure[2];
}

/** Causes that the filters leave, each with its failures. */
function causesLeft(run, state) {
  const rows = new Set(select(run, state));
  const left = run.causes.map(() => []);
  for (const failure of run.failures) {
    const fits = failure[1] >= 0 ? rows.has(failure[1]) : fitsFailure(run, failure, state);
    if (fits) left[failure[0]].push(failure);
  }
  return left.map((failures, index) => ({ index, failures })).filter((cause) => cause.failures.length);
}

function causeCard(page, cause, open) {
  const { run } = page;
  const [exception, place, noun] = run.causes[cause.index];
  const first = cause.failures[0];
  const body = el("div", { class: "body" });
  const many = cause.failures.length;
  const card = el(
    "details",
    { class: "cause" },
    el(
      "summary",
      { class: "item" },
      el("span", { class: "count" }, count(many, noun)),
      el("span", { class: "what id" }, exception || "failed"),
      el("span", { class: "where id" }, place),
      el("span", { class: "says id" }, said(first[4], exception) || failureName(run, first)),
    ),
    body,
  );
  card.fill = (text) => {
    if (body.firstChild) return;
    body.append(testsOf(page, cause), ...told(text), ...reproduction(text ? text[3] : commandOf(run, first)));
  };
  card.addEventListener("toggle", async () => card.open && card.fill(await run.text(first[6])));
  card.fillNow = () => {
    const text = run.textNow(first[6]);
    if (text || !first[6]) card.fill(text);
    return Boolean(body.firstChild);
  };
  card.open = open;
  return card;
}

/** The first line of a message, without the name of its exception, which stands beside it. */
function said(message, exception) {
  const line = message.split("⏎")[0];
  return exception && line.startsWith(exception + ": ") ? line.slice(exception.length + 2) : line;
}

function commandOf(run, failure) {
  return failure[1] >= 0 ? run.command(failure[1]) : `python -m pytest ${quoted(failure[2])}`;
}

function testsOf(page, cause) {
  const list = el("ul");
  const make = (failure) =>
    el(
      "li",
      {},
      el("button", { type: "button", class: "plain id", click: () => page.open(failure) }, failureName(page.run, failure)),
      page.run.suites.length > 1 ? el("span", { class: "quiet" }, ` ${failure[3]}`) : null,
    );
  return inParts(cause.failures, 20, make, list);
}

/** Tasks without a proper end, with what they printed last: often all there is to go by. */
function brokenTasks(page, parent) {
  const { run, state } = page;
  const left = run.broken.filter(([task, suite]) => fits(run.suiteOf.get(suite) || ["", ""], task, state));
  const make = ([task, , said, reference]) => {
    const body = el("div", { class: "body" });
    const card = el(
      "details",
      { class: "cause" },
      el("summary", { class: "item" }, el("span", { class: "outcome missing" }, "task"), el("span", { class: "what id" }, task), el("span", { class: "says" }, said)),
      body,
    );
    card.fill = (text) => body.firstChild || body.append(el("pre", { tabindex: 0 }, text ? text[1] || "It printed nothing." : "run.db has what it printed."));
    card.fillNow = () => card.fill(run.textNow(reference)) || true;
    card.addEventListener("toggle", async () => card.open && card.fill(await run.text(reference)));
    card.open = task === left[0][0];
    return card;
  };
  if (left.length) inParts(left, 10, make, parent);
  return left.length;
}

function failuresView(page, parent) {
  const causes = causesLeft(page.run, page.state);
  const total = causes.reduce((sum, cause) => sum + cause.failures.length, 0);
  const broken = brokenTasks(page, parent);
  const told = [broken && count(broken, "broken task"), total && `${count(total, "failure")} with ${count(causes.length, "cause")}`];
  page.status(told.filter(Boolean).join(" · "));
  if (!causes.length) {
    if (page.run.broken.length) return;
    const nothing = page.run.failures.length ? "No failure fits these filters." : "Nothing failed.";
    parent.append(el("p", { class: "empty" }, nothing));
    return;
  }
  inParts(causes, 100, (cause) => causeCard(page, cause, causes.length <= 3 || cause === causes[0]), parent);
}
