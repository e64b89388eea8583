"""The module in which Django looks for the database wrapper; Django sets its name."""

from typing import Any

from django.db.backends.sqlite3 import base

from esassistant.database.connecting import RemembersOutages
from esassistant.database.sqlite3.files import check_there


class DatabaseWrapper(RemembersOutages, base.DatabaseWrapper):
    """A connection to SQLite."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        check_there(conn_params["database"])
        return super().get_new_connection(conn_params)
