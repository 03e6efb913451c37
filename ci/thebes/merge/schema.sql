-- run.db: all records of a run, merged. Durations are seconds, times seconds since the epoch.
-- `meta` has the rows schema, plan, commit, gates, narrowed and collect; a file of another schema is refused.
PRAGMA page_size = 8192;

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE project (
  path TEXT PRIMARY KEY, rootdir TEXT NOT NULL, fail_under REAL,
  args TEXT NOT NULL DEFAULT '[]'        -- JSON list: pytest arguments of every task
) WITHOUT ROWID;

CREATE TABLE suite (
  id TEXT PRIMARY KEY, project TEXT NOT NULL, gate TEXT NOT NULL, python TEXT NOT NULL,
  services TEXT NOT NULL                 -- JSON: name -> version
) WITHOUT ROWID;

CREATE TABLE task (
  id TEXT PRIMARY KEY, suite TEXT NOT NULL, kind TEXT NOT NULL, wave INTEGER NOT NULL,
  shard INTEGER NOT NULL, shards INTEGER NOT NULL, estimate REAL NOT NULL,
  command TEXT NOT NULL,                 -- JSON list, for checks
  attempt INTEGER,                       -- the attempt that decides; null: there is no record
  speed REAL NOT NULL DEFAULT 1                    -- of the machine it was meant for
) WITHOUT ROWID;

CREATE TABLE task_attempt (
  task TEXT NOT NULL, attempt INTEGER NOT NULL, decides INTEGER NOT NULL,
  exit INTEGER, signal INTEGER, stopped TEXT,    -- of the closing line; all null: the record was not closed
  began REAL, seconds REAL,
  environment TEXT NOT NULL,             -- JSON: name -> value
  output TEXT NOT NULL,                  -- last part of what it printed
  record TEXT NOT NULL,                  -- path, relative to the folder that was merged
  waited REAL NOT NULL DEFAULT 0,                  -- seconds that its job took before it; 0: nobody said when the job began
  PRIMARY KEY (task, attempt)
) WITHOUT ROWID;

CREATE TABLE file (
  suite TEXT NOT NULL, file TEXT NOT NULL, task TEXT NOT NULL,
  planned INTEGER NOT NULL,
  tests INTEGER NOT NULL,                -- that this task ran or should have run
  seconds REAL NOT NULL,                 -- import and collection
  outcome TEXT NOT NULL, text TEXT NOT NULL,     -- collected | failed | skipped | missing
  PRIMARY KEY (suite, file, task)
) WITHOUT ROWID;

CREATE TABLE test (
  suite TEXT NOT NULL, id TEXT NOT NULL, file TEXT NOT NULL, task TEXT NOT NULL,
  outcome TEXT NOT NULL,  -- passed failed error skipped xfailed xpassed crashed | missing cancelled interrupted
  setup REAL NOT NULL, call REAL NOT NULL, teardown REAL NOT NULL,
  fixtures REAL NOT NULL,                -- part of set-up spent in fixtures that serve more than this test
  at REAL NOT NULL, worker TEXT NOT NULL,
  attempts INTEGER NOT NULL, flaky INTEGER NOT NULL,
  peak INTEGER, growth INTEGER           -- bytes of resident memory, where that was measured
);

CREATE TABLE shared (                    -- costly fixtures that serve several tests, for each process that set one up
  suite TEXT NOT NULL, task TEXT NOT NULL, fixture TEXT NOT NULL, seconds REAL NOT NULL,
  test TEXT NOT NULL,                    -- the first that needed it; the cost is part of its `fixtures`
  users TEXT NOT NULL                    -- JSON: file -> tests without it; null: all that the task had of the file
);

CREATE TABLE attempt (                   -- attempts that do not decide
  suite TEXT NOT NULL, id TEXT NOT NULL, task TEXT NOT NULL, task_attempt INTEGER NOT NULL,
  number INTEGER NOT NULL, outcome TEXT NOT NULL,
  setup REAL NOT NULL, call REAL NOT NULL, teardown REAL NOT NULL, at REAL NOT NULL, worker TEXT NOT NULL
);

CREATE TABLE phase (                     -- everything but plain passes, of all attempts
  suite TEXT NOT NULL, id TEXT NOT NULL, task TEXT NOT NULL, task_attempt INTEGER NOT NULL,
  number INTEGER NOT NULL, decides INTEGER NOT NULL,
  phase TEXT NOT NULL, outcome TEXT NOT NULL, message TEXT NOT NULL, text TEXT NOT NULL,
  path TEXT NOT NULL, line INTEGER NOT NULL, subtest TEXT,
  output TEXT NOT NULL                   -- JSON: heading -> text
);

CREATE TABLE leak (                      -- what tests left behind, in all attempts of a task
  suite TEXT NOT NULL, id TEXT NOT NULL, task TEXT NOT NULL, task_attempt INTEGER NOT NULL,
  what TEXT NOT NULL, text TEXT NOT NULL, fails INTEGER NOT NULL
);

CREATE TABLE grouped (                   -- tests that want to share a shard: an xdist_group, a marker
  suite TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL
);

CREATE TABLE deselected (suite TEXT NOT NULL, id TEXT NOT NULL, task TEXT NOT NULL);

CREATE TABLE problem (                   -- what the proof of completeness found; `code` is a reason's code
  code TEXT NOT NULL, gate TEXT, suite TEXT, task TEXT, subject TEXT NOT NULL, text TEXT NOT NULL
);

CREATE TABLE finding (
  task TEXT NOT NULL, file TEXT NOT NULL, line INTEGER NOT NULL, rule TEXT NOT NULL,
  severity TEXT NOT NULL, text TEXT NOT NULL
);

CREATE TABLE benchmark (                 -- of pytest-benchmark
  suite TEXT NOT NULL, task TEXT NOT NULL, id TEXT NOT NULL, grouped TEXT NOT NULL,
  minimum REAL NOT NULL, median REAL NOT NULL, mean REAL NOT NULL, deviation REAL NOT NULL, rounds INTEGER NOT NULL
);

CREATE TABLE sample (
  task TEXT NOT NULL, worker TEXT NOT NULL, at REAL NOT NULL, memory INTEGER NOT NULL, cpu REAL NOT NULL
);

CREATE TABLE coverage (                  -- gate '': the whole project; percent null: it can't be told, see text
  project TEXT NOT NULL, gate TEXT NOT NULL, percent REAL, text TEXT NOT NULL,
  statements INTEGER NOT NULL, executed INTEGER NOT NULL, branches INTEGER NOT NULL, taken INTEGER NOT NULL,
  changed INTEGER, changed_executed INTEGER,     -- statements that the change touched; null: nobody asked
  PRIMARY KEY (project, gate)
) WITHOUT ROWID;

CREATE TABLE coverage_suite (number INTEGER PRIMARY KEY, suite TEXT NOT NULL);

CREATE TABLE coverage_file (
  project TEXT NOT NULL, file TEXT NOT NULL,     -- relative to the repository where it lies in it
  statements INTEGER NOT NULL, executed INTEGER NOT NULL, branches INTEGER NOT NULL, taken INTEGER NOT NULL,
  changed INTEGER, changed_executed INTEGER,
  detail BLOB NOT NULL,                  -- JSON, deflated: which suites executed which line
  source BLOB NOT NULL,                  -- text, deflated
  PRIMARY KEY (file, project)
);

CREATE TABLE origin (                    -- of a merge of several runs: where each suite came from
  suite TEXT PRIMARY KEY, number INTEGER NOT NULL, source TEXT NOT NULL, plan TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE skip (gate TEXT NOT NULL, reason TEXT NOT NULL);
