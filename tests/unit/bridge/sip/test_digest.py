"""Digest: RFC 7616's own example, and what a stranger may try."""

import re

import pytest

from trunkline.bridge.sip.digest import MOST_NONCES, NONCE_S, Digest, fields, response

EXAMPLE = {  # RFC 7616 3.9.1
    "username": "Mufasa",
    "realm": "http-auth@example.org",
    "uri": "/dir/index.html",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "nc": "00000001",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    "qop": "auth",
}
SOURCE, NOW, URI = "192.0.2.7", 1000.0, "sip:agent@us"


def test_the_rfcs_example_by_both_algorithms():
    md5 = response("GET", "Circle of Life", {**EXAMPLE, "algorithm": "MD5"})
    assert md5 == "8ca523f5e9506fed4657c9700eebdbec"
    sha = response("GET", "Circle of Life", {**EXAMPLE, "algorithm": "SHA-256"})
    assert sha == "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"


def made(**more: object) -> Digest:
    return Digest("us", {"desk": "secret"}, **more)  # type: ignore[arg-type]


def asked(digest: Digest, now: float = NOW, source: str = SOURCE, algorithm: str = "SHA-256") -> str:
    found = [text for text in digest.challenge(source, now) if f"algorithm={algorithm}," in text]
    return re.search(r'nonce="([^"]+)"', found[0])[1]


def answer(nonce: str, *, password: str = "secret", method: str = "INVITE", **changed: str) -> str:
    given = {
        "username": "desk",
        "realm": "us",
        "uri": URI,
        "nonce": nonce,
        "nc": "00000001",
        "cnonce": "c",
        "qop": "auth",
    }
    given |= {"algorithm": "SHA-256", **changed}
    given["response"] = response(method, password, given)
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in given.items())


def test_old_telephones_are_asked_first_and_the_order_may_be_another():
    first, second = made().challenge(SOURCE, NOW)
    assert "algorithm=MD5" in first
    assert "algorithm=SHA-256" in second
    first, second = made(algorithms=("SHA-256", "MD5")).challenge(SOURCE, NOW)
    assert "algorithm=SHA-256" in first
    assert "algorithm=MD5" in second
    assert 'qop="auth"' in first
    assert "stale" not in first
    assert "stale=true" in made().challenge(SOURCE, NOW, stale=True)[0]


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_the_right_answer(algorithm):
    digest = made()
    header = answer(asked(digest, algorithm=algorithm), algorithm=algorithm)
    assert digest.check(header, "INVITE", SOURCE, NOW + 1) == ("ok", "desk")


def test_an_algorithm_that_was_not_asked_for_is_no_try():
    digest = made(algorithms=("SHA-256",))
    assert digest.check(answer(asked(digest), algorithm="MD5"), "INVITE", SOURCE, NOW)[0] == "none"


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"password": "guess"}, "wrong"),
        ({"username": "nobody"}, "wrong"),
        ({"method": "BYE"}, "wrong"),
        ({"qop": "auth-int"}, "wrong"),
        ({"realm": "elsewhere"}, "none"),
        ({"nc": "zz"}, "stale"),
        ({"nc": "00000000"}, "stale"),
    ],
)
def test_wrong_answers(changed, verdict):
    digest = made()
    assert digest.check(answer(asked(digest), **changed), "INVITE", SOURCE, NOW) == (verdict, "")


def test_a_count_that_does_not_grow_is_a_replay():
    digest = made()
    nonce = asked(digest)
    assert digest.check(answer(nonce), "INVITE", SOURCE, NOW)[0] == "ok"
    assert digest.check(answer(nonce), "INVITE", SOURCE, NOW)[0] == "stale"
    assert digest.check(answer(nonce, nc="00000002"), "INVITE", SOURCE, NOW)[0] == "ok"
    assert digest.check(answer(nonce, nc="00000001"), "INVITE", SOURCE, NOW)[0] == "stale"


def test_a_wrong_password_uses_up_no_count():
    digest = made()
    nonce = asked(digest)
    assert digest.check(answer(nonce, password="guess", nc="ffffffff"), "INVITE", SOURCE, NOW)[0] == "wrong"
    assert digest.check(answer(nonce), "INVITE", SOURCE, NOW)[0] == "ok"


def test_a_nonce_is_for_its_time_its_sender_and_its_server():
    digest = made()
    nonce = asked(digest)
    assert digest.check(answer(nonce), "INVITE", SOURCE, NOW + NONCE_S + 1)[0] == "stale"
    assert digest.check(answer(nonce), "INVITE", "192.0.2.8", NOW)[0] == "stale"
    assert made().check(answer(nonce), "INVITE", SOURCE, NOW)[0] == "stale"
    assert digest.check(answer("made-up"), "INVITE", SOURCE, NOW)[0] == "stale"
    assert digest.check(answer(""), "INVITE", SOURCE, NOW)[0] == "stale"


def test_used_nonces_are_bounded():
    digest = made()
    for at in range(MOST_NONCES + 10):
        digest.check(answer(asked(digest)), "INVITE", SOURCE, NOW + at / 1e6)
    assert len(digest._counts) == MOST_NONCES


@pytest.mark.parametrize(
    "header",
    ["", "Basic abc", "Digest", "Digest realm", 'Digest realm="us"', 'Digest nc=1, nc=2, realm="us"', "\x00\xff"],
)
def test_what_is_no_answer_at_all(header):
    verdict, user = made().check(header, "INVITE", SOURCE, NOW)
    assert verdict in ("none", "stale")
    assert not user


def test_fields_with_quotes_inside():
    assert fields(r'Digest username="a\"b", nc=1 , qop=auth') == {"username": 'a"b', "nc": "1", "qop": "auth"}
