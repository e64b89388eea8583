"""The settings of the tests: without a `.env` of the developer, with a database in a temporary folder, and with a node
that each test names.
"""

import os
import tempfile
from pathlib import Path

_scratch = Path(os.environ.setdefault("ESASSISTANT_TEST_DIR", tempfile.mkdtemp(prefix="esassistant-test-")))

for _name in [
    name
    for name in os.environ
    if name.startswith(("ELASTICSEARCH_", "MAPPING_CACHE_", "HEALTH_", "ESASSISTANT_API", "REDIS_"))
]:
    del os.environ[_name]
os.environ.update(
    ESASSISTANT_ENV_FILE=os.devnull,
    SECRET_KEY="only-for-tests",  # noqa: S106  # nosec B106  (it protects nothing)
    DEBUG="false",
    ALLOWED_HOSTS="testserver,127.0.0.1,localhost",
    ESASSISTANT_DETAILS="always",
    ESASSISTANT_API_TOKENS="test-token-0123456789",
    DATABASE_URL=f"sqlite:///{_scratch / 'tests.sqlite3'}",
    # Nothing listens there: a test that needs a cluster sets its URL.
    ELASTICSEARCH_URL="http://127.0.0.1:9",
)

from esassistant.database.sqlite3.files import make_missing  # noqa: E402
from esassistant.settings import *  # noqa: E402, F403
from esassistant.settings import DATABASES, LOGGING  # noqa: E402

make_missing()
# A file, because the store works in a thread of its own, which wouldn't see an in-memory database.
DATABASES["default"]["TEST"] = {"NAME": str(_scratch / "tests.sqlite3")}

LOGGING = {**LOGGING, "loggers": {**LOGGING["loggers"], "httpx": {"level": "WARNING"}}}  # type: ignore[dict-item]
