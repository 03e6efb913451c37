"""`python -m thebes`, and the command `thebes`: nothing is imported here that `pip install thebes` leaves out."""

import sys


def main() -> None:
    """Run the command line; one line and exit code 2 where its libraries are missing."""
    try:
        from .cli import main as command_line  # noqa: PLC0415  (where it fails, the import itself does)

        command_line()
    except ModuleNotFoundError as error:
        if not _is_ours(error.name or ""):
            raise
        sys.stderr.write(
            f"thebes: {error.name} is not installed in {sys.prefix}: the command line needs thebes[cli], in an "
            "environment of its own: uv tool install 'thebes[cli]', or pipx\n"
        )
        sys.exit(2)


def _is_ours(module: str) -> bool:
    """Whether it is of a library of the extra `cli`; each of these has the name of its one module."""
    import re  # noqa: PLC0415  (both for this rare error only, not for each start)
    from importlib.metadata import requires  # noqa: PLC0415

    wanted = (line for line in requires("thebes") or () if "extra == 'cli'" in line)
    return module.partition(".")[0] in {re.split(r"[^\w-]", line, maxsplit=1)[0].lower() for line in wanted}


if __name__ == "__main__":
    main()
