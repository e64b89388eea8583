"""Make the description of the HTTP API, `esassistant/openapi.json`, from a table of operations and from the types that
the views serialise. `python -m dev.openapi` writes it.
"""
