"""Examples of answers."""

NAMES = {
    "names": [
        {
            "name": "logs-web",
            "kind": "alias",
            "mapping_hash": None,
            "indices": ["logs-web-2026.10", "logs-web-2026.11"],
            "closed_indices": ["logs-web-2026.10"],
            "age_seconds": 12.3,
        }
    ],
    "next_cursor": None,
}
CLUSTER_FIELDS = {
    "total": 1,
    "fields": [
        {
            "name": "status",
            "types": ["integer", "keyword"],
            "indices_total": 7,
            "families": ["logs-web", "orders"],
            "families_total": 2,
            "conflict": [
                {"type": "integer", "indices_total": 6},
                {"type": "keyword", "indices_total": 1},
            ],
        }
    ],
    "next_cursor": None,
    "unread_indices_total": 0,
    "closed_indices": [],
    "closed_indices_total": 0,
    "left_out_closed_total": 0,
}
COMPACT_FIELDS = {
    "total": 1,
    "fields": [
        {
            "name": "customer.name",
            "types": ["text"],
            "searchable": True,
            "aggregatable": False,
            "indices_total": 1,
        }
    ],
    "next_cursor": None,
}
VALIDATED = {
    "valid": False,
    "findings": [
        {
            "path": "/query/term/chanel",
            "code": "unknown_field",
            "severity": "error",
            "field": "chanel",
            "did_you_mean": ["channel"],
            "detail": "No index has a field chanel.",
        }
    ],
    "not_checked": [],
    "age_seconds": 2.0,
}
