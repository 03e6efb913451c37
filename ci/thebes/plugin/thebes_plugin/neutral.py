"""Takes back options of the project's own that are right for a plain run and wrong for a part of one."""

import pytest


def neutralize(config: pytest.Config) -> None:
    """What stands in the table of docs/configuration.md as not honoured, in a shard and when collecting.

    Reports of one shard would be taken for those of the suite, and shards would overwrite each other's. `--lf` and
    `--sw` select by a cache that shards share and change while others read it: tests would be lost without a trace.
    """
    option = config.option
    option.continue_on_collection_errors = True
    option.xmlpath = None
    for name in ("lf", "stepwise", "stepwise_skip", "stepwise_reset"):
        if hasattr(option, name):  # not where their plug-in is switched off
            setattr(option, name, False)
    if coverage := config.pluginmanager.get_plugin("_cov"):
        coverage.options.cov_report = {}
        coverage.options.cov_fail_under = None
