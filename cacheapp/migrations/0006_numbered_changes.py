from django.db import migrations, models


class Migration(migrations.Migration):
    """Only adds tables and columns, so that version 1.0 can run beside it without knowing them."""

    dependencies = [("cacheapp", "0005_marked")]

    operations = [
        migrations.CreateModel(
            "HistoryHead",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=32)),
                ("last_id", models.BigIntegerField()),
                ("cluster_uuid", models.CharField(max_length=64, null=True)),
            ],
        ),
        migrations.CreateModel(
            "RecordedIndex",
            [
                ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("uuid", models.CharField(max_length=64, null=True)),
                ("mapping_hash", models.CharField(max_length=32)),
                ("at", models.DateTimeField()),
                ("gone", models.CharField(max_length=16)),
                ("family", models.CharField(max_length=256)),
                ("names", models.TextField()),
            ],
        ),
        migrations.AddField("mappingchange", "number", models.BigIntegerField(null=True, unique=True)),
        migrations.AddField("mappingchange", "compared_with", models.CharField(max_length=255, db_default="")),
        migrations.AddField("mappingchange", "family", models.CharField(max_length=256, db_default="")),
        migrations.AddField("mappingchange", "names", models.TextField(db_default="")),
        migrations.AddField("published", "history", models.JSONField(null=True)),
    ]
