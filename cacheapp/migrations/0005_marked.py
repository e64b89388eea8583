from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cacheapp", "0004_shared_value")]

    operations = [migrations.AddField("published", "marked", models.JSONField(null=True))]
