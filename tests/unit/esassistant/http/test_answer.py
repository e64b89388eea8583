"""Ready answers: when 304 is enough, how old they are, and that a view gives what the hot path gives."""

import gzip
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from esassistant.http.answer import Answer, Headers, etag_of
from tests.support.fakes import FakeClock

ETAG = '"0123456789abcdef"'


def a_request(if_none_match: str | None = None) -> HttpRequest:
    headers = {} if if_none_match is None else {"If-None-Match": if_none_match}
    return RequestFactory().get("/", headers=headers)


def head_of(response: HttpResponse) -> set[tuple[bytes, bytes]]:
    """The headers as Django sends them."""
    return {(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()}


def an_answer(**changes: object) -> Answer:
    fields: dict[str, object] = {"body": b'{"a":1}', "content_type": "application/json", "etag": ETAG, **changes}
    return Answer(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("if_none_match", "unchanged"),
    [
        (ETAG, True),
        (f"W/{ETAG}", True),
        (f"  {ETAG}  ", True),
        ("*", True),
        (f'"other", {ETAG}', True),
        (f'W/"other",W/{ETAG} , "third"', True),
        ("", False),
        ('"other"', False),
        ('"other", W/"third"', False),
        (ETAG.strip('"'), False),
        (f"w/{ETAG}", False),
        (f"W/W/{ETAG}", False),
        (f"{ETAG[:-2]}", False),
        (f"x{ETAG}", False),
        (f"{ETAG}x", False),
        (", ,", False),
    ],
)
def test_if_none_match(if_none_match: str, unchanged: bool) -> None:
    """A client's list of what it holds: weak or strong, with any spaces, or anything at all; but only whole
    validators.
    """
    assert an_answer().is_unchanged(if_none_match) is unchanged


TAGS = st.from_regex(r'"[a-f]{1,3}"', fullmatch=True)


@given(TAGS, st.lists(st.tuples(st.sampled_from(["", "W/"]), TAGS, st.sampled_from(["", " ", "\t"])), max_size=6))
def test_if_none_match_lists(etag: str, held: list[tuple[str, str, str]]) -> None:
    """A list matches exactly when one of its validators does."""
    header = ",".join(f"{space}{weak}{tag}{space}" for weak, tag, space in held)
    assert an_answer(etag=etag).is_unchanged(header) is any(tag == etag for _, tag, _ in held)


@pytest.mark.parametrize("changes", [{"etag": None}, {"status": 404}, {"status": 503}, {"etag": None, "status": 500}])
@pytest.mark.parametrize("if_none_match", [ETAG, "*", "None", ""])
def test_only_a_200_with_validator_can_be_unchanged(changes: dict[str, object], if_none_match: str) -> None:
    """An error, or what has no validator, is always given whole, whatever the client holds."""
    assert an_answer(**changes).is_unchanged(if_none_match) is False


def test_heads() -> None:
    """The head has type, length, and what a 304 has too: caching, the owner's headers and the validator, names in lower
    case.
    """
    answer = an_answer(cache_control="max-age=5", headers=(("Retry-After", "3"), ("X-Name", "é")))
    unchanged: Headers = (
        (b"cache-control", b"max-age=5"),
        (b"retry-after", b"3"),
        (b"x-name", b"\xe9"),
        (b"etag", ETAG.encode()),
    )
    assert answer.unchanged_head == unchanged
    assert answer.head == ((b"content-type", b"application/json"), (b"content-length", b"7"), *unchanged)


def test_plain_heads() -> None:
    """Without a validator there is no etag header; unless told otherwise nobody may store an answer."""
    answer = Answer(b"", "text/plain")
    assert answer.status == 200
    assert answer.unchanged_head == ((b"cache-control", b"no-store"),)
    assert answer.head == (
        (b"content-type", b"text/plain"),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
    )


def test_length_is_of_bytes() -> None:
    """The length is that of the body as it is sent, not of its characters."""
    body = "ä€".encode()
    assert (b"content-length", b"5") in Answer(body, "text/plain").head


@pytest.mark.parametrize(
    ("made_at", "age"),
    [(None, None), (1000.0, 0), (999.001, 0), (999.0, 1), (996.5, 3), (1000.5, 0), (2000.0, 0), (0.0, 1000)],
)
def test_age(made_at: float | None, age: int | None) -> None:
    """The age is in whole seconds that have passed, never negative, and None where the answer has no moment."""
    assert an_answer(made_at=made_at).age(1000.0) == age


@pytest.mark.parametrize("made_at", [None, 990.5, 1005.0])
@pytest.mark.parametrize("etag", [None, ETAG])
@pytest.mark.parametrize("status", [200, 404, 503])
def test_view_gives_the_same(fake_clock: FakeClock, status: int, etag: str | None, made_at: float | None) -> None:
    """A view's response has the status, the body and exactly the headers of the answer, and its age."""
    answer = an_answer(status=status, etag=etag, made_at=made_at, headers=(("Retry-After", "3"),))
    response = answer.response(a_request('"other"'), fake_clock)
    age = answer.age(fake_clock.now)
    assert (response.status_code, response.content) == (status, answer.body)
    assert head_of(response) == {*answer.head, *([] if age is None else [(b"age", b"%d" % age)])}


def test_view_without_if_none_match() -> None:
    """Who holds nothing gets everything."""
    assert an_answer().response(a_request()).status_code == 200


@pytest.mark.parametrize("made_at", [None, 990.5])
@pytest.mark.parametrize("if_none_match", [ETAG, f'"other", W/{ETAG}', "*"])
def test_view_of_what_is_unchanged(fake_clock: FakeClock, if_none_match: str, made_at: float | None) -> None:
    """Who holds the answer gets a 304: no body, no content headers, but the validator and the age."""
    answer = an_answer(made_at=made_at)
    response = answer.response(a_request(if_none_match), fake_clock)
    assert (response.status_code, response.content) == (304, b"")
    assert head_of(response) == {*answer.unchanged_head, *([] if made_at is None else [(b"age", b"9")])}


def test_a_change_is_never_unchanged() -> None:
    """A request that changes something gets the whole answer, whatever it holds: 304 is for what reads (RFC 9110)."""
    request = RequestFactory().post("/", headers={"If-None-Match": "*"})
    assert an_answer().response(request).status_code == 200


def test_answers_are_values() -> None:
    """Two answers are equal when what they were made of is, and nobody can write into one that both doors give."""
    assert an_answer() == an_answer()
    assert hash(an_answer()) == hash(an_answer())
    assert an_answer() != an_answer(body=b"{}")
    answer = an_answer()
    with pytest.raises(FrozenInstanceError):
        answer.body = b""  # type: ignore[misc]
    assert "application/json" in repr(answer)
    assert "content-type" not in repr(answer)
    assert "cache-control" not in repr(answer)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_etag_of(one: bytes, other: bytes) -> None:
    """A validator is strong and in quotes, 128 bits in hex; equal for equal bytes, and different for different ones."""
    etag = etag_of(one)
    assert etag.startswith('"')
    assert etag.endswith('"')
    assert len(bytes.fromhex(etag[1:-1])) == 16
    assert (etag_of(bytes(bytearray(other))) == etag) is (one == other)
    assert an_answer(etag=etag).is_unchanged(etag)


def test_every_byte_counts() -> None:
    """A long body has another validator when any of its bytes is another, the last one too."""
    body = bytes(10_000)
    changed = {etag_of(body[:at] + b"x" + body[at + 1 :]) for at in (0, 1, 5_000, 9_999)}
    assert len(changed | {etag_of(body), etag_of(body[:-1])}) == 6


LONG = b"0123456789" * 200


@pytest.mark.parametrize(("changes", "varies"), [({}, True), ({"body": LONG[:1023]}, False), ({"status": 503}, False)])
def test_which_answers_vary(changes: dict[str, Any], varies: bool) -> None:
    """Those of 1 kB and more that aren't errors."""
    assert an_answer(**{"body": LONG, **changes}).varies == varies


def test_the_compressed_form() -> None:
    """It has the headers of the answer but for length and validator; by what it is kept needn't be a validator."""
    answer = an_answer(body=LONG, headers=(("X-Name", "x"),))
    found = answer.gzipped()
    assert found is not None
    head, small = found
    assert gzip.decompress(small) == LONG
    assert head == (
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(small)),
        (b"content-encoding", b"gzip"),
        (b"cache-control", b"no-store"),
        (b"x-name", b"x"),
        (b"etag", f'{ETAG[:-1]}-gzip"'.encode()),
    )
    unnamed = an_answer(body=LONG, etag=None, compressed_as="kept by this")
    first, second = unnamed.gzipped(), unnamed.gzipped()
    assert first is not None
    assert second is not None
    assert first[1] is second[1]
    assert not any(name == b"etag" for name, _ in first[0])
    assert an_answer(body=LONG * 50, etag='"not compressed yet"').gzipped() is None


def test_views_say_what_is_unchanged_compressed() -> None:
    """Who prefers gzip is told 304 by the validator of that form, and that it depends on what is accepted; who doesn't
    by the other.
    """
    answer, coded = an_answer(body=LONG), f'{ETAG[:-1]}-gzip"'
    for held, accepted, status in ((coded, "gzip", 304), (ETAG, "gzip", 200), (coded, "", 200), (ETAG, "", 304)):
        request = RequestFactory().get("/", headers={"If-None-Match": held, "Accept-Encoding": accepted})
        response = answer.response(request)
        assert response.status_code == status
        if status == 304:
            assert (response["ETag"], response["Vary"]) == (held, "Accept-Encoding")
        else:
            assert response.content == LONG
