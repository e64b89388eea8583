"""Django's PostgreSQL backend, which also remembers outages."""
