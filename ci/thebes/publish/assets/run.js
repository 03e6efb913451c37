// The run, unpacked: tests as columns of equal length, one entry for each.

async function unpack(id) {
  const text = byId(id).textContent;
  const bytes = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(text)
    : Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

/** Value, count, value, count … → one value for each test. */
function spread(runs, length, Kind) {
  const made = new Kind(length);
  let at = 0;
  for (let i = 0; i < runs.length; i += 2) {
    made.fill(runs[i], at, at + runs[i + 1]);
    at += runs[i + 1];
  }
  return made;
}

const RED = ["failed", "error", "crashed"];
const GONE = ["missing", "interrupted", "cancelled"];
const FINE = ["passed", "xfailed", "xpassed", "skipped"];
const ORDER = [...RED, ...GONE, "skipped", "xfailed", "xpassed", "passed"];

class Run {
  constructor(data, red) {
    Object.assign(this, data, red);
    const length = this.name.length;
    this.length = length;
    this.file = spread(data.file, length, Uint32Array);
    this.task = spread(data.task, length, Uint32Array);
    this.outcome = spread(data.outcome, length, Uint8Array);
    this.worker = spread(data.worker, length, Uint32Array);
    this.time = new Float64Array(length);
    for (let i = 0; i < length; i++) this.time[i] = (data.setup[i] + data.call[i] + data.teardown[i]) / 10000;
    this.suiteOf = new Map(data.suites.map((suite) => [suite[0], suite]));
    this.taskOf = new Map(data.tasks.map((task) => [task[0], task]));
    this.suiteOfTask = this.taskNames.map((name) => this.suiteOf.get((this.taskOf.get(name) || [])[1]) || ["", "", "", "", "", ""]);
    this.fixturesOf = new Map(data.fixtures);
    this.attemptsOf = new Map(data.again.map(([row, attempts, flaky]) => [row, { attempts, flaky: Boolean(flaky) }]));
    this.failureOf = new Map();
    red.failures.forEach((failure, index) => failure[1] >= 0 && this.failureOf.set(failure[1], index));
    this.blocks = new Map();
    this.haystacks = null;
  }

  id(row) {
    const file = this.key(row);
    return this.name[row] ? `${file}::${this.name[row]}` : file;
  }

  /** The file as node ids have it: relative to its project. */
  key(row) {
    const path = this.files[this.file[row]][0];
    const root = this.suite(row)[5];
    return root && root !== "." && path.startsWith(root + "/") ? path.slice(root.length + 1) : path;
  }

  path(row) {
    return this.files[this.file[row]][0];
  }

  suite(row) {
    return this.suiteOfTask[this.task[row]];
  }

  outcomeOf(row) {
    return this.outcomes[this.outcome[row]];
  }

  owner(row) {
    return this.owners.length ? this.owners[0][this.owners[1][this.file[row]]] : "";
  }

  flaky(row) {
    const known = this.attemptsOf.get(row);
    return Boolean(known && known.flaky);
  }

  command(row) {
    const [, , , services, , , command] = this.suite(row);
    const task = this.taskOf.get(this.taskNames[this.task[row]]);
    // Another tool's test: there is no command for it alone.
    if (task && ["check", "results"].includes(task[2])) return JSON.parse(task[13]).map(quoted).join(" ");
    return `${command} ${quoted(this.id(row))}${services ? `  # with ${services}` : ""}`;
  }

  /** What is searched: id, and for failures the message, in lower case. Made once, when first needed. */
  haystack() {
    if (!this.haystacks) {
      this.haystacks = new Array(this.length);
      const paths = this.files.map((file) => file[0].toLowerCase() + "::");
      for (let i = 0; i < this.length; i++) this.haystacks[i] = paths[this.file[i]] + this.name[i].toLowerCase();
      for (const [row, index] of this.failureOf) this.haystacks[row] += "\n" + this.failures[index][4].toLowerCase();
    }
    return this.haystacks;
  }

  /** Phase, traceback, output, command, of a reference [block, position]. */
  async text(reference) {
    if (!reference) return null;
    const [block, position] = reference;
    if (!this.blocks.has(block)) this.blocks.set(block, unpack(`block-${block}`).then((known) => this.keep(block, known)));
    return (await this.blocks.get(block))[position];
  }

  keep(block, known) {
    this.ready = this.ready || new Map();
    this.ready.set(block, known);
    return known;
  }

  /** The same without waiting, if its block has been unpacked. */
  textNow(reference) {
    const known = reference && this.ready && this.ready.get(reference[0]);
    return known ? known[reference[1]] : null;
  }
}
