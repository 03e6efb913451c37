"""The folder that is put on the search path of the user's Python: it holds `thebes_plugin` and nothing else.

`thebes_plugin` needs pytest alone and imports nothing from the rest of this package, so it works in any
environment, whether it was installed there or is handed over by path.
"""
