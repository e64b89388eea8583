from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cacheapp", "0001_store")]

    operations = [
        migrations.AddField("mappingchange", "compared", models.BooleanField(default=True), preserve_default=False)
    ]
