"""The models of what health keeps over restarts. Only records.py uses them."""

from django.db import models


class HealthTransition(models.Model):
    """A change of the status of a service or of the verdict, and the reason."""

    at = models.DateTimeField()
    service = models.CharField(max_length=200)
    before = models.CharField(max_length=16, null=True)  # noqa: DJ001  (null: the first that was known)
    after = models.CharField(max_length=16)
    reason = models.TextField()
    instance = models.CharField(max_length=200)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.service} {self.after}"


class KeptUsual(models.Model):
    """The usual duration of one kind of call, as JSON."""

    kind = models.CharField(max_length=300, primary_key=True)
    usual = models.TextField()

    def __str__(self) -> str:
        return self.kind
