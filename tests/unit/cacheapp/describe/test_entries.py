"""Entries say what a field is in a few words, and nothing from the cluster breaks a line."""

import json
from collections.abc import Mapping

from cacheapp.describe.entries import MAX_NOTE_CHARACTERS, Entry, about_of, entries, prose, written
from cacheapp.mapping.fields import fields


def entries_of(*properties: Mapping[str, object], **other: object) -> dict[str, Entry]:
    mappings = {f"i{n}": json.dumps({"properties": one, **other}).encode() for n, one in enumerate(properties)}
    return {entry.path: entry for entry in entries(fields(mappings), len(mappings))}


def test_multi_fields_are_marks() -> None:
    """A multi-field stands behind its field, its type only where its name doesn't say it."""
    plain = {"type": "text", "fields": {"keyword": {"type": "keyword"}, "raw": {"type": "keyword"}}}
    named = {"type": "keyword", "fields": {"length": {"type": "token_count"}, "text": {"type": "match_only_text"}}}
    found = entries_of({"a": plain, "b": named})
    assert found["a"].marks == "(.keyword, .raw)"
    assert found["b"].marks == "(.length token_count, .text)"
    assert set(found) == {"a", "b"}


def test_objects_are_told_by_what_is_in_them() -> None:
    """An object has no entry unless it is empty; what is in a nested one knows it."""
    found = entries_of(
        {"o": {"properties": {"x": {"type": "ip"}}}, "e": {"type": "object"}, "n": {"type": "nested"}},
        {"n": {"type": "nested", "properties": {"y": {"type": "long"}}}},
    )
    assert {path: entry.types for path, entry in found.items()} == {"o.x": "ip", "e": "object", "n.y": "long"}
    assert found["n.y"].nested_path == "n"


def test_a_conflict_is_a_note() -> None:
    """Both types stand before the name; the note says which indices have which."""
    found = entries_of(
        {"s": {"type": "keyword"}}, {"s": {"type": "long"}}, {"s": {"type": "long"}}, {"s": {"type": "long"}}
    )
    assert found["s"].types == "keyword+long"
    assert found["s"].note == "conflict: keyword in 1 (i0), long in 3 (i1, i2, …)"


def test_aliases_scripts_and_parts_are_marks() -> None:
    """What a field stands for, that a script computes it, and how many indices have it."""
    first = {"a": {"type": "alias", "path": "b"}, "b": {"type": "date"}}
    found = entries_of(first, {}, runtime={"r": {"type": "double"}})
    assert (found["a"].types, found["a"].marks) == ("date", "(= b, in 1)")
    assert found["r"].marks == "(runtime)"


def test_meta_is_a_note() -> None:
    """A description stands without its key."""
    found = entries_of({"t": {"type": "long", "meta": {"description": "How long\nit took", "unit": "ms", "x": " "}}})
    assert found["t"].note == "How long it took; unit ms"


def test_names_and_texts_stay_on_one_line() -> None:
    """A name with signs that mean something here is in quotes; a long text is cut."""
    assert written("a-b@c") == "a-b@c"
    assert written('a b\n"c') == '"a b\\n\\"c"'
    assert written("a;b") == '"a;b"'
    assert prose("a\u2028b\t\x00 c") == "a b c"
    assert written("a\u202eb") == '"a\\u202eb"'
    assert written("\U000e0041\u200b").isascii()
    assert prose("a\u200b\U000e0041\u202eb") == "a b"
    assert len(prose("long " * 100)) == MAX_NOTE_CHARACTERS


def test_mappings_say_what_they_are_about() -> None:
    """The description of `_meta` counts, else its words and numbers; the first that says anything."""
    said = json.dumps({"_meta": {"description": "Orders"}}).encode()
    plain = json.dumps({"_meta": {"beat": "filebeat", "managed": True, "by": {"x": 1}, "version": 7}}).encode()
    assert about_of([b"{}", b'{"_meta":[]}', b'{"_meta":{"a":[]}}', said, plain]) == "Orders"
    assert about_of([plain]) == "beat filebeat, version 7"
    assert about_of([b"no json"]) == ""
