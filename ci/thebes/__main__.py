"""`python -m thebes`."""

from .cli import main

main()
