from django.db import migrations, models


class Migration(migrations.Migration):
    """Only adds a table, so that version 1.0 can run beside it without knowing it."""

    dependencies = [("cacheapp", "0006_numbered_changes")]

    operations = [
        migrations.CreateModel(
            "WebhookCursor",
            [
                ("target", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("history", models.CharField(max_length=32)),
                ("last_id", models.BigIntegerField()),
                ("paused_at", models.DateTimeField(null=True)),
            ],
        ),
    ]
