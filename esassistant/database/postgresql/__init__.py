"""PostgreSQL, as Django knows it, but that its outages are remembered."""
