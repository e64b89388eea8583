"""The module in which Django looks for the database wrapper; Django sets its name."""

from typing import Any

from django.db.backends.sqlite3 import base
from django.db.backends.sqlite3.features import DatabaseFeatures as DjangosFeatures

from esassistant.database.connecting import RemembersOutages
from esassistant.database.sqlite3.files import check_there


class DatabaseFeatures(DjangosFeatures):
    """What SQLite can do. Since Django 6.1 every command's checks want to know whether it has JSON. Django asks the
    database, whose file may not be there yet; SQLite has JSON since 3.38.
    """

    supports_json_field = True


class DatabaseWrapper(RemembersOutages, base.DatabaseWrapper):
    """A connection to SQLite."""

    features_class = DatabaseFeatures

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        check_there(conn_params["database"])
        return super().get_new_connection(conn_params)
