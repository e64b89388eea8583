from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cacheapp", "0002_compared")]

    operations = [migrations.AddField("published", "unread", models.JSONField(null=True))]
