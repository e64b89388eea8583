"""The kernel: settings, the Elasticsearch clients, the registry of resources, and how requests are answered."""

__version__ = "2.0.0"
"""The version. The wheel, the OpenAPI document and the release all read it from here."""
