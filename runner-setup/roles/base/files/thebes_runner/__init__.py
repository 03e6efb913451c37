"""Host programs of the Thebes runner kit: standard library only, Python 3.10 and later."""
