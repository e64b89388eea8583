"""What is sent of a change: a CloudEvent, signed so that the receiver's own lines in the documents accept it."""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from cacheapp.webhooks.events import event_of, headers, lost_until
from tests.support.changes import NOW, change

DOCUMENT = (Path(settings.BASE_DIR) / "docs" / "webhooks.md").read_text()
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
BODY = b'{"a":1}'


def secret(key: bytes) -> str:
    return f"whsec_{base64.b64encode(key).decode()}"


@pytest.fixture
def is_genuine() -> Callable[[str, Mapping[str, str], bytes], bool]:
    """The function that docs/webhooks.md gives to receivers."""
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  (our own document)
    found: Callable[[str, Mapping[str, str], bytes], bool] = names["is_genuine"]
    return found


def test_a_cloud_event() -> None:
    """All attributes that CloudEvents 1.0 requires and knows, and the change as the API gives it."""
    told = change(1042, "orders", added=["discount"], added_total=1, family="orders")
    event = event_of(told, "6d1c0b8a2f3e4d5c")
    body = json.loads(event.body())
    data = body.pop("data")
    assert body == {
        "specversion": "1.0",
        "id": "1042",
        "source": "urn:esassistant:history:6d1c0b8a2f3e4d5c",
        "type": "esassistant.change.changed",
        "time": "2026-11-29T10:33:07.120000Z",
        "subject": "orders",
        "datacontenttype": "application/json",
    }
    assert (data["id"], data["index"], data["kind"], data["added"]) == (1042, "orders", "changed", ["discount"])
    assert event.message_id == "6d1c0b8a2f3e4d5c_1042"


def test_gaps() -> None:
    """A gap is about no index. One that the history has, and one that stands for what it has no more, differ by id."""
    in_history = json.loads(event_of(change(7, None, "gap"), "h").body())
    lost = lost_until(7, "h", NOW, "search-1:4711")
    told = json.loads(lost.body())
    assert "subject" not in in_history
    assert "subject" not in told
    assert (in_history["id"], told["id"]) == ("7", "lost-7")
    assert told["type"] == "esassistant.change.gap"
    assert told["data"] == in_history["data"] | {"compared": False}
    assert lost.number == 7


def test_the_documented_event() -> None:
    """The example in docs/webhooks.md has just these members, and its data those of a change."""
    [example] = re.findall(r'\n(\{"specversion".*?\}\})\n', DOCUMENT, re.DOTALL)
    ours = json.loads(event_of(change(1042, "orders"), "6d1c0b8a2f3e4d5c").body())
    documented = json.loads(example)
    assert list(documented) == list(ours)
    assert set(documented["data"]) == set(ours["data"])
    assert documented["source"] == ours["source"]


def test_receivers_accept_it(is_genuine: Callable[[str, Mapping[str, str], bytes], bool]) -> None:
    """The lines of the document accept what was signed with their secret, with one secret or two, and nothing else:
    another secret, another body, another id or an old one.
    """
    now = datetime.now(UTC)
    for keys in ((KEY,), (OTHER_KEY, KEY)):
        signed = headers("h_1", now, BODY, keys)
        assert is_genuine(secret(KEY), signed, BODY)
        assert is_genuine(secret(OTHER_KEY), signed, BODY) == (OTHER_KEY in keys)
        assert not is_genuine(secret(KEY), signed, BODY + b" ")
        assert not is_genuine(secret(KEY), {**signed, "webhook-id": "h_2"}, BODY)
        assert not is_genuine(secret(KEY), {**signed, "webhook-timestamp": str(int(time.time()) + 1)}, BODY)
    old = headers("h_1", now - timedelta(minutes=6), BODY, (KEY,))
    assert not is_genuine(secret(KEY), old, BODY)


def test_as_standard_webhooks_has_it() -> None:
    """The example of its specification: same secret, same id and moment, same signature."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    signed = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}', (key,))
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signed["webhook-timestamp"] == "1614265330"
    assert signed["content-type"].startswith("application/cloudevents+json")
