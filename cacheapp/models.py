"""The database store's tables. Written by stores/database.py alone."""

from django.db import models


class MappingBody(models.Model):
    """One distinct mapping, under its hash, as compact JSON."""

    mapping_hash = models.CharField(max_length=32, primary_key=True)
    body = models.BinaryField()

    def __str__(self) -> str:
        return self.mapping_hash


class IndexMapping(models.Model):
    """Which mapping an index has. `confirmed_at` null: when the published state as a whole was."""

    name = models.CharField(max_length=255, primary_key=True)
    uuid = models.CharField(max_length=64, null=True)  # noqa: DJ001  (null: not known, unlike any text)
    mapping_hash = models.CharField(max_length=32)
    confirmed_at = models.DateTimeField(null=True)
    field_count = models.IntegerField(null=True)

    def __str__(self) -> str:
        return self.name


class Alias(models.Model):
    """The indices of an alias or data stream."""

    name = models.CharField(max_length=255, primary_key=True)
    indices = models.JSONField()
    is_data_stream = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name


class Published(models.Model):
    """One row: the generation of the published state, and when the pass that found it listed the cluster."""

    generation = models.BigIntegerField()
    confirmed_at = models.DateTimeField()
    cluster_uuid = models.CharField(max_length=64)
    cluster_urls = models.CharField(max_length=64)

    def __str__(self) -> str:
        return str(self.generation)


class LeaseRow(models.Model):
    """Who may do one thing until when. `token` grows with each new holder."""

    name = models.CharField(max_length=64, primary_key=True)
    holder = models.CharField(max_length=200)
    token = models.BigIntegerField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Attempt(models.Model):
    """When something that is limited in rate was last attempted."""

    name = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
