from typing import Any

from django.db import migrations, models
from django.db.models import Q


def mark_compared(apps: Any, _: object) -> None:
    """Mark rows that have differences as compared; for other rows that isn't known."""
    differ = Q(added_total__gt=0) | Q(removed_total__gt=0) | Q(retyped_total__gt=0) | Q(altered_total__gt=0)
    apps.get_model("cacheapp", "MappingChange").objects.filter(differ).update(compared=True)


class Migration(migrations.Migration):
    dependencies = [("cacheapp", "0001_store")]

    operations = [
        migrations.AddField("mappingchange", "compared", models.BooleanField(db_default=False)),
        migrations.RunPython(mark_compared, migrations.RunPython.noop),
    ]
