"""Write changes as events: CloudEvents 1.0 in structured JSON, signed by the rules of Standard Webhooks. Pure.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from cacheapp.mapping.diff import FieldChanges
from cacheapp.shown_changes import ShownChange
from cacheapp.state.changes import ChangeKind

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
TYPE_PREFIX: Final = "esassistant.change."
SOURCE_PREFIX: Final = "urn:esassistant:history:"
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Event:
    """A change that is to be sent. `id` identifies it among all events of its history, and stays the same when it is
    sent again.
    """

    change: ShownChange
    history: str
    id: str

    @property
    def message_id(self) -> str:
        """An id that is unique among all messages. It may not have a dot, because the signed text uses dots as
        separators.
        """
        return f"{self.history}_{self.id}"

    @property
    def number(self) -> int:
        """The number of the change in its history."""
        return self.change.id or 0

    @property
    def index(self) -> str | None:
        """The index that the change is about; None: all indices."""
        return self.change.index

    def body(self) -> bytes:
        """Return the body of the request."""
        subject = {} if self.index is None else {"subject": self.index}
        return _encoder.encode(
            {
                "specversion": "1.0",
                "id": self.id,
                "source": f"{SOURCE_PREFIX}{self.history}",
                "type": f"{TYPE_PREFIX}{self.change.kind}",
                "time": self.change.at.astimezone(UTC),
                **subject,
                "datacontenttype": "application/json",
                "data": self.change,
            }
        )


def event_of(change: ShownChange, history: str) -> Event:
    """Return the event of a change. `history` is the name of the history that has it."""
    return Event(change, history, str(change.id))


def lost_until(number: int, history: str, at: datetime, instance: str) -> Event:
    """Return the event of a gap, which stands for all changes up to `number` that aren't kept any more. No row of the
    history has it.
    """
    nothing = msgspec.to_builtins(FieldChanges())
    columns = {
        "id": number,
        "index": None,
        "at": at,
        "kind": ChangeKind.GAP.value,
        "family": None,
        "compared": False,
        "compared_with": None,
        "seen_by": instance,
        **nothing,
    }
    return Event(msgspec.convert(columns, ShownChange), history, f"lost-{number}")


def headers(message_id: str, at: datetime, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of a request. The signatures, one with each of the `keys`, prove who sends it. The signed
    timestamp proves when it was sent, so that nobody can send it again much later.
    """
    timestamp = int(at.timestamp())
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "content-type": CONTENT_TYPE,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(signed, key)}" for key in keys),
    }


def _signature(signed: bytes, key: bytes) -> str:
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
