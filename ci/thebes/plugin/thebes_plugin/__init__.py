"""What runs inside the user's pytest. Importing this package imports nothing else; the plug-in itself is `.hooks`."""
