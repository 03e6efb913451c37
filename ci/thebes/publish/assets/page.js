// The page: views, filters, keys, printing. Every change goes through the address.

const VIEWS = [
  { name: "failures", title: "Failures", draw: failuresView, size: (run) => run.failures.length + run.broken.length, filters: true, always: true },
  { name: "tests", title: "Tests", draw: testsView, size: (run) => run.length, filters: true, always: true },
  { name: "slow", title: "Slowest", draw: slowView, size: (run) => run.length && null, filters: true },
  { name: "timeline", title: "Timeline", draw: timelineView, size: (run) => run.tasks.length && null, filters: true },
  { name: "flaky", title: "Reruns", draw: flakyView, size: (run) => run.attemptsOf.size, filters: true },
  { name: "skips", title: "Skips", draw: skipsView, size: (run) => run.skips.length, filters: true },
  { name: "findings", title: "Findings", draw: findingsView, size: (run) => run.findings.length, filters: true },
  { name: "coverage", title: "Coverage", draw: coverageView, size: (run) => (run.coverage.length || run.sources.length) && null, filters: ["q", "gate", "suite", "file"] },
  { name: "benchmarks", title: "Benchmarks", draw: benchmarksView, size: (run) => run.benchmarks.length, filters: ["q", "gate", "suite", "file"] },
  { name: "memory", title: "Memory", draw: memoryView, size: (run) => (run.samples.length || run.memory.measured) && null, filters: true },
];

class Page {
  constructor(run) {
    this.run = run;
    const { only } = document.body.dataset;
    this.views = VIEWS.filter((view) => (only ? view.name === only : view.always || view.size(run) !== 0));
    this.rows = null;
    this.filters();
    this.bar();
    addEventListener("hashchange", () => this.show());
    addEventListener("keydown", (event) => this.key(event));
    addEventListener("beforeprint", () => this.print());
    addEventListener("afterprint", () => this.draw());
    this.dialog = byId("detail");
    this.dialog.addEventListener("close", () => this.state.open && this.go({ open: "" }));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.show();
    if (run.failures.length && run.failures[0][6]) run.text(run.failures[0][6]);
  }

  /** Change what is shown. `quietly`: without an entry for Back, as while typing. */
  go(changes, quietly) {
    const target = address(this.state, changes);
    if (target === location.hash) return;
    if (quietly) history.replaceState(null, "", target);
    else location.hash = target;
    // At once: the event comes later, and another change may come before it.
    this.show();
  }

  open(failure) {
    this.go({ open: `${failure[3]}|${failureName(this.run, failure)}` });
  }

  /** Close the dialog without touching the address: a link is about to. */
  shut() {
    this.state.open = "";
    this.dialog.close();
  }

  show() {
    const before = this.state;
    this.state = readState();
    this.view = this.views.find((view) => view.name === this.state.view) || this.views[VIEWS[0].size(this.run) || this.views.length === 1 ? 0 : 1];
    this.state.view = this.view.name;
    const same = before && address(before, { open: "" }) === address(this.state, { open: "" });
    if (!same) this.draw();
    this.showDialog();
  }

  draw() {
    this.tabs();
    this.fillFilters();
    if (this.rows) this.rows.close();
    this.rows = null;
    const parent = byId("view");
    parent.replaceChildren();
    parent.removeAttribute("aria-busy");
    this.view.draw(this, parent);
  }

  showDialog() {
    const { open } = this.state;
    if (!open) return this.dialog.open && this.dialog.close();
    if (this.shown === open && this.dialog.open) return undefined;
    this.shown = open;
    if (!this.dialog.open) this.dialog.showModal();
    return fillDialog(this, this.dialog, open);
  }

  status(text, ...beside) {
    byId("status").textContent = text;
    byId("order").replaceChildren(...beside);
  }

  tabs() {
    const link = (view) => {
      const size = view.size(this.run);
      const current = view === this.view ? "page" : null;
      const kept = { ...this.state, ...Object.fromEntries(PLACE.map((key) => [key, ""])) };
      return el("a", { href: address(kept, { view: view.name }), "aria-current": current }, view.title, size ? el("span", { class: "n" }, number.format(size)) : null);
    };
    const strip = byId("tabs");
    strip.replaceChildren(...this.views.map(link));
    const current = strip.querySelector("[aria-current]");
    strip.scrollLeft = current.offsetLeft - strip.offsetLeft - (strip.clientWidth - current.offsetWidth) / 2;
  }

  /** How the tests ended, as one bar of links. */
  bar() {
    const tally = new Map();
    for (const outcome of this.run.outcome) tally.set(outcome, (tally.get(outcome) || 0) + 1);
    const known = [...tally].map(([outcome, size]) => [this.run.outcomes[outcome], size]);
    known.sort((a, b) => ORDER.indexOf(a[0]) - ORDER.indexOf(b[0]));
    byId("bar").append(
      ...known.map(([outcome, size]) => {
        const words = `${number.format(size)} ${outcome}`;
        const label = size > this.run.length / 8 ? words : number.format(size);
        const part = el("a", { class: outcome, href: address({ view: "tests" }, { outcome }), title: words, "aria-label": words }, label);
        part.style.flexGrow = size;
        part.style.flexBasis = "0";
        return part;
      }),
    );
    byId("bar").hidden = !known.length;
  }

  filters() {
    const form = byId("filters");
    const { run } = this;
    const pick = (key, title, names) => {
      if (names.length < 2) return;
      const choice = el("select", { name: key, change: (event) => this.go({ [key]: event.target.value }) }, el("option", { value: "" }, "any"));
      for (const [value, name] of names) choice.append(el("option", { value }, name));
      form.append(el("label", {}, el("span", {}, title), choice));
    };
    const same = (names) => [...new Set(names)].filter(Boolean).sort().map((name) => [name, name]);
    const red = RED.concat(GONE).join(",");
    const outcomes = ORDER.filter((name) => run.outcomes.includes(name)).map((name) => [name, name]);
    pick("outcome", "Outcome", [[red, "all that is red"], ...outcomes, ...(run.attemptsOf.size ? [["flaky", "flaky"]] : [])]);
    pick("gate", "Gate", same(run.suites.map((suite) => suite[1])));
    pick("suite", "Suite", same(run.suites.map((suite) => suite[0])));
    pick("shard", "Shard", same(run.taskNames));
    if (run.owners.length) pick("owner", "Owner", same(run.owners[0].flatMap((names) => names.split(" "))));
    const file = el("input", { name: "file", type: "search", placeholder: "part of a path", autocomplete: "off", spellcheck: "false" });
    file.addEventListener("input", debounce(() => this.go({ file: file.value }, true), 120));
    form.append(el("label", {}, el("span", {}, "File"), file));
    const more = el("button", { type: "button", id: "more", "aria-expanded": "false", click: () => this.unfold(more) }, "Filters");
    form.append(more, el("button", { type: "button", id: "clear", click: () => this.clear() }, "Clear"));
    form.addEventListener("submit", (event) => event.preventDefault());
    byId("q").addEventListener("input", debounce(() => this.go({ q: byId("q").value }, true), 60));
  }

  /** On a phone the filters but for the search are folded away. */
  unfold(button) {
    const open = byId("filters").classList.toggle("unfolded");
    button.setAttribute("aria-expanded", String(open));
  }

  clear() {
    this.go(Object.fromEntries(KEYS.map((key) => [key, ""])));
  }

  fillFilters() {
    const form = byId("filters");
    const { filters } = this.view;
    form.hidden = !filters || Boolean(this.state.source && filters.length);
    for (const label of form.querySelectorAll("label")) label.hidden = Array.isArray(filters) && !filters.includes(label.querySelector("[name], #q").name || "q");
    for (const field of form.querySelectorAll("select[name], input[name]")) {
      if (field !== document.activeElement) field.value = this.state[field.name];
      if (field.tagName === "SELECT" && field.value !== this.state[field.name]) field.value = "";
    }
    if (byId("q") !== document.activeElement) byId("q").value = this.state.q;
    byId("clear").hidden = !KEYS.some((key) => !PLACE.includes(key) && this.state[key]);
  }

  key(event) {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (this.dialog.open) return;
    const digit = Number(event.key);
    const actions = { "/": () => byId("q").focus(), j: () => this.move(1), k: () => this.move(-1), "?": () => this.help(), c: () => this.clear() };
    if (digit >= 1 && digit <= this.views.length) this.go({ ...Object.fromEntries(PLACE.map((key) => [key, ""])), view: this.views[digit - 1].name });
    else if (actions[event.key]) actions[event.key]();
    else return;
    event.preventDefault();
  }

  move(step) {
    if (this.rows) return this.rows.move(step);
    const items = [...document.querySelectorAll("#view .item")].filter((item) => item.offsetParent);
    const current = items.indexOf(document.activeElement);
    const next = items[current < 0 ? 0 : Math.min(items.length - 1, Math.max(0, current + step))];
    if (next) next.focus();
    return undefined;
  }

  help() {
    const keys = [
      ["/", "search"],
      ["j k", "next, previous"],
      ["Enter", "open"],
      ["Esc", "close"],
      [`1 – ${this.views.length}`, "views"],
      ["c", "clear the filters"],
    ];
    this.shown = "";
    this.dialog.replaceChildren(
      el("button", { type: "button", class: "close", click: () => this.dialog.close(), "aria-label": "Close" }, "✕"),
      el("h2", {}, "Keys"),
      el("table", {}, el("tbody", {}, ...keys.map(([key, what]) => el("tr", {}, el("td", {}, el("kbd", {}, key)), cell(what))))),
    );
    this.dialog.showModal();
  }

  /** For paper: failures opened, then what was slow, flaky and skipped; or the source that is open, as it stands. */
  print() {
    const source = this.view.name === "coverage" && Boolean(this.state.source);
    document.body.classList.toggle("one-source", source);
    if (source) return;
    if (this.rows) this.rows.close();
    this.rows = null;
    const parent = byId("view");
    const calm = Object.assign(Object.create(this), { status: () => {}, printing: true, state: { ...this.state, q: "", outcome: "" } });
    parent.replaceChildren();
    for (const view of this.views.filter((one) => !["tests", "memory"].includes(one.name))) {
      const part = el("section", {}, el("h2", {}, view.title));
      view.draw(calm, part);
      parent.append(part);
    }
    for (const card of [...parent.querySelectorAll("details.cause")].slice(0, 30)) {
      card.open = card.fillNow ? card.fillNow() : false;
    }
  }
}

async function start() {
  const [data, red] = await Promise.all([unpack("run-data"), unpack("failure-data")]);
  const run = new Run(data, red);
  window.page = new Page(run);
  performance.mark("ready");
  // So that the first search is as fast as the next.
  setTimeout(() => run.haystack(), 50);
}

start().catch((error) => {
  byId("view").replaceChildren(el("p", { class: "empty" }, `This page can't be shown: ${error.message}. A browser of 2023 or later is needed.`));
});
