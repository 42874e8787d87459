"""Tickets and secrets: signed, short-lived, compared in constant time, kept private."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trunkline.api_auth import Tickets, load_secrets, same


class Now:
    def __init__(self) -> None:
        self.s = 1_000_000.0

    def __call__(self) -> float:
        return self.s


def test_a_ticket_stands_for_its_tenant_and_scopes_until_it_is_old() -> None:
    now = Now()
    tickets = Tickets(b"k" * 32, 60.0, now)
    ticket = tickets.issue("acme", {"events:read"})
    who = tickets.read(ticket)
    assert who is not None
    assert (who.tenant, who.scopes, who.via) == ("acme", frozenset({"events:read"}), "ticket")
    now.s += 61
    assert tickets.read(ticket) is None


def test_a_ticket_of_another_key_or_with_one_bit_changed_is_nobody() -> None:
    tickets = Tickets(b"k" * 32, 60.0, Now())
    ticket = tickets.issue("acme", {"events:read"})
    assert Tickets(b"j" * 32, 60.0, Now()).read(ticket) is None
    for place in range(0, len(ticket), 7):
        changed = ticket[:place] + ("A" if ticket[place] != "A" else "B") + ticket[place + 1 :]
        assert tickets.read(changed) is None, place


def test_a_ticket_has_one_spelling() -> None:
    """The last character of a signature carries two bits that mean nothing; with others it would be a second text."""
    tickets = Tickets(b"k" * 32, 60.0, Now())
    ticket = tickets.issue("acme", {"events:read"})
    others = [ticket[:-1] + last for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]
    assert [other for other in others if tickets.read(other) is not None] == [ticket]


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert Tickets(b"k" * 32, 60.0, Now()).read(text) is None


def test_secrets_that_are_not_configured_are_made_once_and_private(tmp_path: Path) -> None:
    first = load_secrets(tmp_path, media_token="", webhook_secret="")
    again = load_secrets(tmp_path, media_token="", webhook_secret="")
    assert first == again
    assert len(first.media_token) >= 24
    assert (tmp_path / "carrier-secret").stat().st_mode & 0o777 == 0o600
    configured = load_secrets(tmp_path, media_token="given-token-0001", webhook_secret="given-secret-001")
    assert (configured.media_token, configured.webhook_secret) == ("given-token-0001", "given-secret-001")
    assert configured.webhook_secret_configured
    assert not first.webhook_secret_configured


def test_an_empty_secret_equals_nothing() -> None:
    assert not same("", "")
    assert same("a", "a")
    assert not same("é", "a")
