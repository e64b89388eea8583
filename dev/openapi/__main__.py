"""`python -m dev.openapi`: write esassistant/openapi.json. A test compares it with what this would write."""

import os

import django

# No settings of the developer: the document is the same wherever it is made.
os.environ.update(ESASSISTANT_ENV_FILE=os.devnull, ESASSISTANT_PROFILE="", DEBUG="true")
os.environ["DJANGO_SETTINGS_MODULE"] = "esassistant.settings"
django.setup(set_prefix=False)

from dev.openapi.document import PATH, rendered  # noqa: E402

if __name__ == "__main__":
    PATH.write_text(rendered(), encoding="utf-8")
    print(f"wrote {PATH}")
