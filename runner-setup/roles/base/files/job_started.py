"""Entry point of the job-started hook."""

import sys

sys.path.insert(0, "/usr/local/lib/thebes-runner/thebes_runner.zip")
sys.dont_write_bytecode = True

from thebes_runner.hook import main  # noqa: E402

sys.exit(main())
