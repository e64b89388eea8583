"""The names of fields that are told of a family: what a question is about first, whatever there is in small room."""

from cacheapp.describe.field_names import MAX_FIELDS, MAX_TOLD, FieldNames

FIELDS = [("status", {"status"}), ("id", {"id"}), ("customer.id", {"customer", "id"}), ("zip", {"zip", "post"})]
WORDS = frozenset({"status", "id", "customer", "zip"})


def test_what_is_asked_for_comes_first() -> None:
    """What fits most words of a question, each by the best of what it may stand for; then what counts without any."""
    names = FieldNames.of(FIELDS, WORDS)
    assert names.first([{"customer": 1.0}, {"id": 1.0}]) == ["customer.id", "status", "id", "zip"]
    assert names.first([{"id": 0.1, "zip": 0.8}]) == ["zip", "status", "id", "customer.id"]
    assert names.first([{"id": 1.0}])[:2] == ["id", "customer.id"]


def test_without_a_question() -> None:
    """Also where none of its words is known: the order is as given."""
    names = FieldNames.of(FIELDS, WORDS)
    for asked in ([], [{"post": 1.0}], [{"giraffe": 1.0}]):
        assert names.first(asked) == [name for name, _ in FIELDS]
    assert FieldNames.of([], WORDS).first([{"id": 1.0}]) == []


def test_how_many() -> None:
    """As many are told as have room, also of those that are asked for; so many are looked at as are kept."""
    fields = [(f"f{number}", {"even"} if number % 2 == 0 else {"odd"}) for number in range(MAX_FIELDS + 1)]
    names = FieldNames.of(fields, frozenset({"even", "odd"}))
    assert names.first([]) == [f"f{number}" for number in range(MAX_TOLD)]
    assert names.first([{"odd": 1.0}]) == [f"f{2 * number + 1}" for number in range(MAX_TOLD)]
    assert names.total == MAX_FIELDS
    assert names.size_bytes > len(names.lines) + 2 * MAX_FIELDS
