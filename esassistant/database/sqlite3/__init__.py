"""Django's SQLite backend, which also remembers outages."""
