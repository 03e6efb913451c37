// Where the time went.

function timelineView(page, parent) {
  const { run, state } = page;
  const tasks = run.tasks.filter((task) => fits(run.suiteOf.get(task[1]) || ["", ""], task[0], state));
  const ran = tasks.filter((task) => task[7] !== null);
  if (!ran.length) {
    page.status("");
    return void parent.append(el("p", { class: "empty" }, "No task has a record."));
  }
  const begin = Math.min(...ran.map((task) => task[7]));
  const end = Math.max(...ran.map((task) => task[7] + Math.max(task[8] || 0, task[6])));
  const span = Math.max(end - begin, 0.001);
  const real = Math.max(...ran.map((task) => task[7] + (task[8] || 0))) - begin;
  const longest = Math.max(...ran.map((task) => task[8] || 0));
  const planned = Math.max(...tasks.map((task) => task[6]));
  page.status(
    `${count(tasks.length, "task")} in ${seconds(real)} from first start to last end; the longest took ${seconds(longest)}, planned were ${seconds(planned)}`,
  );
  const chart = el("div", { class: "gantt", role: "list" });
  for (const task of tasks) chart.append(...taskLine(run, task, begin, span));
  parent.append(chart, el("p", { class: "quiet" }, "Filled: what happened. Dashed: what was planned. Thin: what each worker spent in tests."));
  taskOutputs(page, parent);
}

function place(bar, from, width, begin, span) {
  bar.style.left = `${((from - begin) / span) * 100}%`;
  bar.style.width = `${(width / span) * 100}%`;
  return bar;
}

function taskLine(run, task, begin, span) {
  const [name, , , , , , estimate, began, spent, exit, signal, stopped] = task;
  const bad = exit !== 0 && !(exit === 5);
  const how = began === null ? "no record" : spent === null ? "broken off" : signal ? `signal ${signal}` : stopped || "";
  const words = `${seconds(spent)} · planned ${seconds(estimate)}${how ? ` · ${how}` : ""}`;
  const track = el("div", { class: "track", "aria-hidden": "true" });
  if (began !== null) {
    track.append(place(el("div", { class: bad ? "real bad" : "real" }), began, spent || 0, begin, span));
    track.append(place(el("div", { class: "plan" }), began, estimate, begin, span));
  }
  const line = [
    el("div", { class: "name id", role: "listitem", title: name }, el("a", { href: address({ view: "tests" }, { shard: name }), class: "item" }, name)),
    track,
    el("div", { class: "time num" }, words),
  ];
  const workers = run.workers.filter((worker) => worker[0] === name && worker[1]);
  for (const worker of workers) line.push(...workerLine(worker, begin, span));
  return line;
}

function workerLine([, name, first, last, busy, tests], begin, span) {
  const track = el("div", { class: "track thin", "aria-hidden": "true" });
  if (first !== null) track.append(place(el("div", { class: "work" }), first, last - first, begin, span));
  return [
    el("div", { class: "name sub" }, name),
    track,
    el("div", { class: "time sub num" }, `${seconds(busy)} in ${count(tests, "test")}`),
  ];
}

function taskOutputs(page, parent) {
  const { run } = page;
  if (!run.outputs.length) return;
  parent.append(el("h2", {}, "What tasks printed that did not end with 0"));
  const make = ([task, reference]) => {
    const card = el("details", { class: "cause" }, el("summary", { class: "item id" }, task));
    card.addEventListener("toggle", async () => {
      if (card.childElementCount > 1) return;
      const text = await run.text(reference);
      card.append(el("div", { class: "body" }, el("pre", { tabindex: 0 }, text ? text[1] : "The output did not fit into this page; run.db has it.")));
    });
    return card;
  };
  inParts(run.outputs, 50, make, parent);
}
