// What is shown, kept in the part of the address after #: "#tests?q=login&outcome=failed". Links and Back just work.

const KEYS = ["q", "outcome", "gate", "suite", "shard", "file", "owner", "sort", "open", "source", "line"];
// Part of the place, not a filter: another view starts without them.
const PLACE = ["sort", "open", "source", "line"];

function readState() {
  const [view, query] = location.hash.slice(1).split("?");
  const known = new URLSearchParams(query || "");
  const state = { view };
  for (const key of KEYS) state[key] = known.get(key) || "";
  return state;
}

function address(state, changes) {
  const merged = { ...state, ...changes };
  const query = new URLSearchParams();
  for (const key of KEYS) if (merged[key]) query.set(key, merged[key]);
  const text = query.toString();
  return `#${merged.view || ""}${text ? "?" + text : ""}`;
}

/** The rows that the filters leave, in their order. */
function select(run, state) {
  const tests = [];
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const haystack = words.length ? run.haystack() : null;
  const tasks = run.taskNames.map((name, i) => fits(run.suiteOfTask[i], name, state));
  const outcomes = run.outcomes.map((name) => !state.outcome || state.outcome === "flaky" || state.outcome.split(",").includes(name));
  const files = state.file || state.owner ? run.files.map((file, i) => fitsFile(run, file[0], i, state)) : null;
  for (let i = 0; i < run.length; i++) {
    if (!tasks[run.task[i]] || !outcomes[run.outcome[i]]) continue;
    if (files && !files[run.file[i]]) continue;
    if (haystack && !words.every((word) => haystack[i].includes(word))) continue;
    if (state.outcome === "flaky" && !run.flaky(i)) continue;
    tests.push(i);
  }
  return tests;
}

function fits(suite, task, state) {
  return (!state.gate || suite[1] === state.gate) && (!state.suite || suite[0] === state.suite) && (!state.shard || task === state.shard);
}

function fitsFile(run, path, index, state) {
  if (state.file && !path.toLowerCase().includes(state.file.toLowerCase())) return false;
  return !state.owner || (run.owners.length > 0 && run.owners[0][run.owners[1][index]].split(" ").includes(state.owner));
}

/** Does a failure that is no test (a file, say) fit the filters? */
function fitsFailure(run, failure, state) {
  const [, , name, suite, message] = failure;
  const known = run.suiteOf.get(suite) || ["", ""];
  if (state.gate && known[1] !== state.gate) return false;
  if (state.suite && suite !== state.suite) return false;
  if (state.shard || state.owner || (state.outcome && !state.outcome.split(",").includes("error"))) return false;
  if (state.file && !name.toLowerCase().includes(state.file.toLowerCase())) return false;
  const text = `${name}\n${message}`.toLowerCase();
  return state.q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function sorted(run, rows, sort) {
  if (sort === "slow") return Int32Array.from(rows).sort((a, b) => run.time[b] - run.time[a] || a - b);
  if (sort === "run") return rows;
  if (sort === "name") {
    const haystack = run.haystack();
    return [...rows].sort((a, b) => (haystack[a] < haystack[b] ? -1 : 1));
  }
  const rank = run.outcomes.map((name) => ORDER.indexOf(name));
  const piles = ORDER.map(() => []);
  for (const row of rows) piles[rank[run.outcome[row]]].push(row);
  return piles.flat();
}
