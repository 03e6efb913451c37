"""Past runs: durations and outcomes per test and per file, in SQLite or any database that SQLAlchemy reaches.

`store` keeps them; `durations` reads and writes pytest-split's files. Nothing is imported here, because `store`
takes the database library with it, which takes longer to import than many a plan to make.
"""
