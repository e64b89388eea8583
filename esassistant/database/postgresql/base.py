"""The module in which Django looks for the database wrapper; Django sets its name."""

from django.db.backends.postgresql import base

from esassistant.database.connecting import RemembersOutages


class DatabaseWrapper(RemembersOutages, base.DatabaseWrapper):
    """A connection to PostgreSQL."""
