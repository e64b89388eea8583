"""`manage.py warm_cache`: read all mappings once and share them, for example before a deployment."""

from cacheapp.commands import RefreshCommand


class Command(RefreshCommand):
    help = "Read every mapping from Elasticsearch and publish them: servers that start later are warm at once."
    trigger = "warm_cache"
    limited = False
