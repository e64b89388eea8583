from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: list[tuple[str, str]] = []

    operations = [
        migrations.CreateModel(
            "HealthTransition",
            [
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="ID", auto_created=True)),
                ("at", models.DateTimeField()),
                ("service", models.CharField(max_length=200)),
                ("before", models.CharField(max_length=16, null=True)),
                ("after", models.CharField(max_length=16)),
                ("reason", models.TextField()),
                ("instance", models.CharField(max_length=200)),
            ],
        ),
        migrations.CreateModel(
            "KeptUsual",
            [
                ("kind", models.CharField(max_length=300, primary_key=True, serialize=False)),
                ("usual", models.TextField()),
            ],
        ),
    ]
