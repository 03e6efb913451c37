// Memory: of processes over time, and of the tests where each was measured.

function memoryView(page, parent) {
  const { run } = page;
  const shown = new Set(select(run, page.state));
  const peaks = run.memory.peaks.filter(([row]) => shown.has(row));
  const kept = run.memory.kept.filter(([row]) => shown.has(row));
  const steady = run.memory.steady.filter(([file, suite]) => fits(run.suiteOf.get(suite) || ["", ""], page.state.shard, page.state) && file.includes(page.state.file));
  const series = processSeries(page);
  page.status(`${count(series.length, "process", "processes")} and ${count(run.memory.measured, "test")} measured`);
  const leaks = run.memory.leaks.filter(([row]) => shown.has(row));
  if (leaks.length) parent.append(el("h2", {}, "Leaks"), leaking(page, leaks));
  if (!series.length && !run.memory.measured && !leaks.length) return void parent.append(el("p", { class: "empty" }, "Nothing was measured."));
  if (!run.memory.measured) parent.append(el("p", { class: "quiet" }, "Tests were not measured one by one: measure-memory does that."));
  const most = page.printing ? 20 : peaks.length;
  if (peaks.length) {
    parent.append(
      el(
        "div",
        { class: "columns" },
        el("section", {}, el("h2", {}, "Largest peaks"), sizes(page, peaks.slice(0, most), "#Peak")),
        el("section", {}, el("h2", {}, "Left behind"), kept.length ? sizes(page, kept.slice(0, most), "#Growth") : el("p", { class: "quiet" }, "No test left its process 1 MB larger.")),
      ),
    );
  }
  if (steady.length) parent.append(el("h2", {}, "Growing with most of their tests"), growing(steady));
  if (series.length) parent.append(el("h2", {}, "Processes"), processes(series));
}

function sizes(page, pairs, heading) {
  const largest = pairs[0][1];
  const line = ([row, size]) => el("tr", {}, testButton(page, row), meter(size / largest), cell(megabytes(size), "num"));
  return table(["Test", "", heading], pairs.map(line));
}

function leaking(page, leaks) {
  const line = ([row, text]) => el("tr", {}, testButton(page, row), cell(text));
  return table(["Test", "What it left"], leaks.map(line));
}

function growing(files) {
  const line = ([file, suite, grown, growers, measured]) =>
    el(
      "tr",
      {},
      el("td", { class: "wide-cell" }, el("a", { class: "id item", href: address({ view: "tests" }, { file, suite, sort: "run" }) }, file)),
      cell(megabytes(grown), "num"),
      cell(`${number.format(growers)} of ${number.format(measured)}`, "num"),
    );
  return table(["File", "#Growth", "#Tests that grew"], files.map(line));
}

function processSeries(page) {
  const { run, state } = page;
  return run.samples
    .filter(([task]) => fits(run.suiteOf.get((run.taskOf.get(task) || [])[1]) || ["", ""], task, state))
    .sort((a, b) => b[2] - a[2]);
}

function processes(series) {
  const highest = series[0][2];
  const rows = series.slice(0, 300).map(([task, worker, peak, processor, points]) =>
    el(
      "tr",
      {},
      el("td", { class: "id wide-cell" }, worker ? `${task} ${worker}` : task),
      cell(megabytes(peak), "num"),
      cell(seconds(processor), "num"),
      el("td", {}, spark(points, highest, `memory of ${task} ${worker}: at most ${megabytes(peak)}`)),
    ),
  );
  return table(["Task and worker", "#Highest memory", "#Processor time", "Memory over time, all to one scale"], rows);
}

function spark(points, highest, label) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "polyline");
  const [begin, end] = [points[0][0], points[points.length - 1][0]];
  const at = ([time, memory]) => `${(((time - begin) / Math.max(end - begin, 0.001)) * 100).toFixed(2)},${(30 - (memory / highest) * 28).toFixed(2)}`;
  const shown = points.length > 1 ? points : [points[0], [points[0][0] + 1, points[0][1]]];
  line.setAttribute("points", shown.map(at).join(" "));
  picture.setAttribute("viewBox", "0 0 100 31");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("class", "spark");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", label);
  picture.append(line);
  return picture;
}
