"""What is never gathered: fields by their names, values by their forms."""

import pytest

from cacheapp.values.masks import MAX_VALUE_CHARACTERS, MAX_VALUE_WORDS, is_private_name, is_private_value


@pytest.mark.parametrize(
    "name",
    [
        *("password", "user.passwordHash", "apiKey", "api_key", "API-KEY", "auth.token", "session_id", "sessionid"),
        *("customer.email", "eMail", "phone_number", "mobilePhone", "iban", "birth_date", "dateOfBirth", "first_name"),
        *("firstname", "client.ip", "source.ip", "geo.lat", "shipping.street", "zipCode", "user", "user.name"),
        *("customer_id", "customer.full_name", "card.number", "owner", "created_by.user.id", "request.cookies"),
    ],
)
def test_private_names(name: str) -> None:
    """In whatever style: what one signs in with, and what tells of persons."""
    assert is_private_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "status",
            "customer.tier",
            "order.id",
            "service.name",
            "host.name",
            "card.type",
            "account.plan",
            "@timestamp",
        ),
        *("country", "keyboard.layout", "passenger_total", "authored", "emailed_total", "", "user_agent.version"),
    ],
)
def test_other_names(name: str) -> None:
    """Words that only look alike, and what is said of a person without saying who."""
    assert not is_private_name(name)


def test_more_names_by_patterns() -> None:
    """Whatever the case."""
    assert is_private_name("Order.Margin", ("order.marg*",))
    assert is_private_name("order.margin", ("ORDER.*",))
    assert not is_private_name("order.margin", ("margin",))


@pytest.mark.parametrize(
    "value",
    [
        *("ann@example.org", "https://example.org/?a=b", "https://ann:secret@example.org/", "10.0.0.5", "fe80::1"),
        *("eyJhbGciOiJIUzI1NiJ9.e30", "d41d8cd98f00b204e9800998ecf8427e", "550e8400-e29b-41d4-a716-446655440000"),
        *("AKIAIOSFODNN7EXAMPLE", "+43 660 1234567", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00"),
        *("password=hunter22", "Bearer abcdefgh1234", "-----BEGIN PRIVATE KEY-----", "a\nb"),
        "x" * (MAX_VALUE_CHARACTERS + 1),
        "word " * (MAX_VALUE_WORDS + 1),
    ],
)
def test_private_values(value: str) -> None:
    """Secrets, addresses and numbers of persons, and texts."""
    assert is_private_value(value)


@pytest.mark.parametrize(
    "value",
    [
        *("Delivered", "in transit", "eu-central-1", "2026-11-29", "2026/11/29", "2026-11", "1.2.3", "v8.19.21", "42"),
        *("application/json", "GET", "", " ", "Österreich", "sku-1009", "https://example.org/help", "a b c d e"),
    ],
)
def test_other_values(value: str) -> None:
    """Words, dates, versions and short ids."""
    assert not is_private_value(value)
