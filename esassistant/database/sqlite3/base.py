"""Django looks for a database's class in a module of this name."""

from django.db.backends.sqlite3 import base

from esassistant.database.connecting import RemembersOutages


class DatabaseWrapper(RemembersOutages, base.DatabaseWrapper):
    """A connection to SQLite."""
