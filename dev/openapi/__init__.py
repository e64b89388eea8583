"""The description of the HTTP API, `esassistant/openapi.json`: made of a table of operations and of the very types that
the views serialise. `python -m dev.openapi` writes it.
"""
