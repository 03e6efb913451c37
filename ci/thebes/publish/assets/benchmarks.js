// What pytest-benchmark measured, by group: the median with the range from the fastest round, all to one scale.

function benchmarksView(page, parent) {
  const { run, state } = page;
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const left = run.benchmarks
    .filter(([suite]) => fits(run.suiteOf.get(suite) || ["", ""], "", { ...state, shard: "" }))
    .filter(([, id]) => words.every((word) => id.toLowerCase().includes(word)) && id.split("::")[0].toLowerCase().includes(state.file.toLowerCase()));
  page.status(count(left.length, "benchmark"));
  if (!left.length) return void parent.append(el("p", { class: "empty" }, "No benchmark fits these filters."));
  const groups = new Map();
  for (const one of left) groups.set(one[2], [...(groups.get(one[2]) || []), one]);
  for (const [name, members] of groups) {
    if (groups.size > 1) parent.append(el("h2", {}, name || "without a group"));
    const slowest = Math.max(...members.map((one) => one[4]));
    const body = el("tbody");
    const made = table(["Benchmark", "#Median", "", "#Fastest", "#Mean ± deviation", "#Rounds"], []);
    made.replaceChild(body, made.lastChild);
    parent.append(made);
    moreRows(members, page.printing ? 40 : 200, (one) => benchmarkRow(run, one, slowest), body, parent);
  }
  return undefined;
}

function benchmarkRow(run, [suite, id, , minimum, median, mean, deviation, rounds], slowest) {
  const named = run.suites.length > 1 ? el("span", { class: "quiet" }, ` ${suite}`) : null;
  return el(
    "tr",
    {},
    el("td", { class: "wide-cell" }, el("span", { class: "id item", tabindex: 0 }, id), named),
    cell(brief(median), "num"),
    meter(slowest ? median / slowest : 0),
    cell(brief(minimum), "num"),
    cell(`${brief(mean)} ± ${mean ? Math.round((deviation / mean) * 100) : 0} %`, "num"),
    cell(number.format(rounds), "num"),
  );
}

/** Seconds of something that may be very short. */
function brief(value) {
  if (value >= 0.001) return seconds(value);
  return value >= 1e-6 ? `${(value * 1e6).toFixed(value < 1e-5 ? 2 : 1)} µs` : `${(value * 1e9).toFixed(1)} ns`;
}
