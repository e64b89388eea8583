from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cacheapp", "0003_unread")]

    operations = [
        migrations.CreateModel(
            "SharedValue",
            [
                ("name", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("value", models.BinaryField()),
            ],
        ),
    ]
