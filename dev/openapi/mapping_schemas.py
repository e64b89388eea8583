"""Schemas of answers that have mappings as Elasticsearch renders them."""

MAPPED = {
    "description": "Mappings by index, each as Elasticsearch renders it.",
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {"mappings": {"type": "object", "additionalProperties": True}},
        "required": ["mappings"],
    },
}
GROUPED = {
    "description": "Each distinct mapping once, ordered by the first index that has it.",
    "type": "object",
    "properties": {
        "groups": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "mapping_hash": {"type": "string"},
                    "indices": {
                        "description": "All indices that have this mapping, sorted by name.",
                        "type": "array",
                        "items": {"type": "string"},
                    },
                    "mappings": {"type": "object", "additionalProperties": True},
                },
                "required": ["mapping_hash", "indices", "mappings"],
            },
        }
    },
    "required": ["groups"],
}
