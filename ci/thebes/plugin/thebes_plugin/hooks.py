"""pytest plug-in: runs one shard of a planned suite and records what happens, or lists the test files.

Without one of its options it does nothing and imports nothing.
"""

from collections.abc import Generator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("thebes", "one shard of a planned suite (used by `thebes task`)")
    group.addoption("--thebes-shard", metavar="FILE", help="run the shard that FILE describes")
    group.addoption("--thebes-discover", metavar="FILE", help="describe the test files in FILE")


@pytest.hookimpl(wrapper=True)  # before pytest-cov, which is tryfirst and comes later
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    options = early_config.known_args_namespace
    if options.thebes_shard and getattr(options, "cov_source", None):
        from .cores import choose_core  # noqa: PLC0415  (only where coverage is measured)

        choose_core(early_config, options.thebes_shard)
    return (yield)


@pytest.hookimpl(tryfirst=True)  # before xdist, junitxml and pytest-cov look at the options
def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--thebes-shard"):
        from .install import install  # noqa: PLC0415  (nothing is imported where nothing is asked)

        install(config, path)
    elif path := config.getoption("--thebes-discover"):
        from . import discovery  # noqa: PLC0415

        discovery.install(config, path)
