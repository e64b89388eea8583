"""The kernel: settings, the Elasticsearch clients, the registry of resources, and how requests are answered."""

__version__ = "2.0.0"
"""The one place: the wheel, the description of the API and the release take it from here."""
