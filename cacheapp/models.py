"""The database tables. Those of the database store are written only by stores/database.py, those of the history by
history.py and change_log.py, that of webhooks by webhooks/cursors.py.
"""

from datetime import datetime

from django.db import models

from cacheapp.rows import ReadableRows


def _moment(at: datetime | None) -> str:
    """Return a time as text for `__str__`. `at` is None if what the row has is no time."""
    return "?" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


class MappingBody(models.Model):
    """One distinct mapping as compact JSON, by its hash."""

    mapping_hash = models.CharField(max_length=32, primary_key=True)
    body = models.BinaryField()

    objects = ReadableRows.as_manager()

    def __str__(self) -> str:
        return str(self.mapping_hash)


class IndexMapping(models.Model):
    """Which mapping an index has. `confirmed_at` null: it was confirmed when the published state as a whole was."""

    name = models.CharField(max_length=255, primary_key=True)
    uuid = models.CharField(max_length=64, null=True)  # noqa: DJ001  (null: not known, unlike any text)
    mapping_hash = models.CharField(max_length=32)
    confirmed_at = models.DateTimeField(null=True)
    field_count = models.IntegerField(null=True)

    objects = ReadableRows.as_manager()

    def __str__(self) -> str:
        return str(self.name)


class Alias(models.Model):
    """The indices of an alias or data stream."""

    name = models.CharField(max_length=255, primary_key=True)
    indices = models.JSONField()
    is_data_stream = models.BooleanField(default=False)

    objects = ReadableRows.as_manager()

    def __str__(self) -> str:
        return str(self.name)


class Published(models.Model):
    """One row: the generation of the published state. `confirmed_at`: when the full pass that found this state listed
    the cluster. `listed_at`: when a later change pass listed the cluster; null if none did.

    The values of the last three columns begin with a generation. If that isn't the present one, a value means nothing:
    version 1.0 doesn't know these columns, and leaves them as they are. `unread`: the indices that were listed but
    could not be read; null: none. `marked`: which indices are closed and which are hidden. `history`: how far the
    publisher has recorded the changes; null: it didn't say.
    """

    generation = models.BigIntegerField()
    confirmed_at = models.DateTimeField()
    listed_at = models.DateTimeField(null=True)
    cluster_uuid = models.CharField(max_length=64)
    cluster_urls = models.CharField(max_length=64)
    unread = models.JSONField(null=True)
    marked = models.JSONField(null=True)
    history = models.JSONField(null=True)

    objects = ReadableRows.as_manager()

    def __str__(self) -> str:
        return str(self.generation)


class LeaseRow(models.Model):
    """Who holds a lease, and until when. `token` grows with each new holder."""

    name = models.CharField(max_length=64, primary_key=True)
    holder = models.CharField(max_length=200)
    token = models.BigIntegerField()
    ttl_seconds = models.FloatField()
    expires_at = models.DateTimeField()

    objects = ReadableRows.as_manager()

    def __str__(self) -> str:
        return str(self.name)


class Attempt(models.Model):
    """When something with a rate limit was last attempted."""

    name = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField()

    objects = ReadableRows.as_manager()

    def __str__(self) -> str:
        return str(self.name)


class SharedValue(models.Model):
    """A small value that processes change one after the other; empty if it isn't set. The names are fixed, and few."""

    name = models.CharField(max_length=64, primary_key=True)
    value = models.BinaryField()

    objects = ReadableRows.as_manager()

    def __str__(self) -> str:
        return str(self.name)


class InstanceReport(models.Model):
    """The last report of one process of the deployment, and until when it counts."""

    name = models.CharField(max_length=200, primary_key=True)
    at = models.DateTimeField()
    expires_at = models.DateTimeField()
    report = models.BinaryField()

    objects = ReadableRows.as_manager()

    def __str__(self) -> str:
        return str(self.name)


class PassRecord(models.Model):
    """One pass that ended, by its report."""

    refresh_id = models.CharField(max_length=32)
    started_at = models.DateTimeField(db_index=True)
    trigger = models.CharField(max_length=32)
    outcome = models.CharField(max_length=16)
    duration_seconds = models.FloatField()
    indices_total = models.IntegerField(null=True)
    read_total = models.IntegerField()
    changed_total = models.IntegerField()
    removed_total = models.IntegerField()
    failed_total = models.IntegerField()
    requests_total = models.IntegerField()
    error = models.CharField(max_length=500)
    instance = models.CharField(max_length=200)

    objects = ReadableRows.as_manager()

    class Meta:
        verbose_name = "pass"
        verbose_name_plural = "passes"

    def __str__(self) -> str:
        return f"{_moment(self.started_at)} {self.outcome}"


class HistoryHead(models.Model):
    """One row: where the history of this database ends. Writers of changes lock it first, so that numbers are in the
    order of commits; numbers from a sequence might not be.

    `name`: made up once, it tells this history from those of other databases. `last_id`: the number of the last change;
    0 if there is none. `cluster_uuid`: the cluster that the changes are about; empty if it doesn't say; null if no
    index is recorded yet.
    """

    name = models.CharField(max_length=32)
    last_id = models.BigIntegerField()
    cluster_uuid = models.CharField(max_length=64, null=True)  # noqa: DJ001  (null: unlike any text)

    def __str__(self) -> str:
        return f"{self.name} {self.last_id}"


class RecordedIndex(models.Model):
    """The last state of an index that the history recorded. `at`: the moment at which the cluster confirmed it. `gone`:
    `deleted` or `hidden`; empty if the index is there.
    """

    name = models.CharField(max_length=255, primary_key=True)
    uuid = models.CharField(max_length=64, null=True)  # noqa: DJ001  (null: not known, unlike any text)
    mapping_hash = models.CharField(max_length=32)
    at = models.DateTimeField()
    gone = models.CharField(max_length=16)
    family = models.CharField(max_length=256)
    names = models.TextField()

    objects = ReadableRows.as_manager()

    def __str__(self) -> str:
        return str(self.name)


class MappingChange(models.Model):
    """What happened to one index, and when this was seen. The lists have the first hundred names, the totals count all;
    if `compared` is false both say nothing.

    `number`: its place in the one order of changes, which has no holes; null: version 1.0 wrote the row, which gives no
    numbers, and it hasn't been numbered since. `names`: the aliases and data streams that the index belonged to, each
    between commas. A gap has the index `*`: version 1.0 would take an empty one for an edited row.
    """

    number = models.BigIntegerField(null=True, unique=True)
    index = models.CharField(max_length=255, db_index=True)
    at = models.DateTimeField()
    kind = models.CharField(max_length=16)
    compared = models.BooleanField(db_default=False)
    compared_with = models.CharField(max_length=255, db_default="")
    family = models.CharField(max_length=256, db_default="")
    names = models.TextField(db_default="")
    added = models.JSONField()
    removed = models.JSONField()
    retyped = models.JSONField()
    altered = models.JSONField()
    added_total = models.IntegerField()
    removed_total = models.IntegerField()
    retyped_total = models.IntegerField()
    altered_total = models.IntegerField()
    instance = models.CharField(max_length=200)

    objects = ReadableRows.as_manager()

    class Meta:
        verbose_name = "mapping change"

    def __str__(self) -> str:
        return f"{_moment(self.at)} {self.index} {self.kind}"


class WebhookCursor(models.Model):
    """How far a target of webhooks is: it has received all changes up to `last_id` that it wants, of the history with
    that name. `paused_at`: since when nothing is sent, because the receiver answered that it is gone; null if it is
    sent to.
    """

    target = models.CharField(max_length=64, primary_key=True)
    history = models.CharField(max_length=32)
    last_id = models.BigIntegerField()
    paused_at = models.DateTimeField(null=True)

    objects = ReadableRows.as_manager()

    def __str__(self) -> str:
        return f"{self.target} {self.last_id}"
