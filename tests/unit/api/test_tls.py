"""A certificate that is renewed on disk is used for the next handshake; one that is no good leaves the old in force."""

import asyncio
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from structlog.testing import capture_logs

from trunkline.config import Settings
from trunkline.config_load import load
from trunkline.errors import ConfigError
from trunkline.tls import Certificate, facts_of, kept_fresh

NOW = datetime.now(UTC)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def write(folder: Path, name: str, *, days: float = 90, key: PrivateKey | None = None, passphrase: bytes = b"") -> None:
    """A self-signed pair, cert.pem and key.pem, each put in place at once as certbot does."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=90))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName(f"*.{name}")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    put(folder / "cert.pem", certificate.public_bytes(serialization.Encoding.PEM))
    put(folder / "key.pem", pem)


def put(path: Path, data: bytes) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(data)
    os.replace(draft, path)


def certificate(folder: Path) -> Certificate:
    return Certificate(folder / "cert.pem", folder / "key.pem")


class Ends:
    """A client and the server's context, joined in memory."""

    def __init__(self, server: ssl.SSLContext, name: str | None = None, ciphers: str = "") -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if ciphers:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
        self.client = context.wrap_bio(to_client, to_server, server_hostname=name)
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        done = 0
        for _ in range(10):
            done = 0
            for end in (self.client, self.server):
                try:
                    end.do_handshake()
                    done += 1
                except ssl.SSLWantReadError:
                    continue
        assert done == 2

    @property
    def named(self) -> str:
        """The name on the certificate that the client was shown."""
        der = self.client.getpeercert(True)
        assert der is not None
        return x509.load_der_x509_certificate(der).subject.rfc4514_string().removeprefix("CN=")

    def talk(self) -> bytes:
        self.client.write(b"still here")
        return self.server.read(100)


@pytest.mark.parametrize("sni", [None, "asked.example"])
def test_the_next_handshake_sees_the_new_certificate_and_what_is_live_goes_on(tmp_path: Path, sni: str | None) -> None:
    write(tmp_path, "old.example")
    ours = certificate(tmp_path)
    live = Ends(ours.context, sni)
    assert not ours.renew()
    write(tmp_path, "new.example")
    assert ours.renew()
    assert (live.named, Ends(ours.context, sni).named) == ("old.example", "new.example")
    assert live.talk() == b"still here"
    assert ours.facts.names == ("new.example", "*.new.example")


def test_another_kind_of_key_leaves_nothing_of_the_old_one_behind(tmp_path: Path) -> None:
    write(tmp_path, "rsa.example", key=rsa.generate_private_key(65537, 2048))
    ours = certificate(tmp_path)
    assert Ends(ours.context, ciphers="ECDHE-RSA-AES128-GCM-SHA256").named == "rsa.example"
    write(tmp_path, "ec.example")
    assert ours.renew()
    assert Ends(ours.context).named == "ec.example"
    with pytest.raises(ssl.SSLError):
        Ends(ours.context, ciphers="ECDHE-RSA-AES128-GCM-SHA256")


def test_half_a_renewal_keeps_the_old_one_until_the_other_half_is_there(tmp_path: Path) -> None:
    write(tmp_path, "old.example")
    ours = certificate(tmp_path)
    (tmp_path / "next").mkdir()
    write(tmp_path / "next", "new.example")
    put(tmp_path / "cert.pem", (tmp_path / "next" / "cert.pem").read_bytes())
    with capture_logs() as lines:
        assert not ours.renew()
        assert not ours.renew()
    (line,) = lines
    assert (line["event"], line["log_level"], ours.refused) == ("tls.not_renewed", "error", 1)
    assert "server.tls_key" in line["reason"]
    assert "is not the key of" in line["reason"]
    assert Ends(ours.context).named == "old.example"
    put(tmp_path / "key.pem", (tmp_path / "next" / "key.pem").read_bytes())
    assert ours.renew()
    assert Ends(ours.context).named == "new.example"


@pytest.mark.parametrize("file", ["cert.pem", "key.pem"])
@pytest.mark.parametrize(
    "data", [None, b"", b"rubbish\x00\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_bad_files_keep_the_old_one_and_say_so(tmp_path: Path, file: str, data: bytes | None) -> None:
    write(tmp_path, "old.example")
    ours = certificate(tmp_path)
    if data is None:
        (tmp_path / file).unlink()
    else:
        put(tmp_path / file, data)
    with capture_logs() as lines:
        assert not ours.renew(anyway=True)
    assert [line["event"] for line in lines] == ["tls.not_renewed"]
    assert f"server.tls_{file.partition('.')[0]}" in lines[0]["reason"]
    assert Ends(ours.context).named == "old.example"
    write(tmp_path, "new.example")
    assert ours.renew()


def test_a_bad_pair_at_the_start_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"server\.tls_cert .*cannot be read"):
        certificate(tmp_path)
    write(tmp_path, "locked.example", passphrase=b"secret")
    with pytest.raises(ConfigError, match=r"server\.tls_key .*passphrase"):
        certificate(tmp_path)


def test_settings_want_both_files() -> None:
    with pytest.raises(ConfigError, match=r"server\.tls_key is empty, but server\.tls_cert is not"):
        load(overrides={"server.tls_cert": "fullchain.pem"})
    with pytest.raises(ConfigError, match=r"trusted_proxies has '10\.0\.0\.1/8'.*did you mean 10\.0\.0\.0/8"):
        load(overrides={"server.trusted_proxies": "10.0.0.1/8"})
    with pytest.raises(ConfigError, match=r"allow_carriers_from has 'smartflo'"):
        load(overrides={"auth.allow_carriers_from": "smartflo"})
    assert Settings().server.tls_cert == ""


def test_a_link_that_points_elsewhere_is_a_renewal(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, f"{name}.example")
    link = tmp_path / "live"
    link.symlink_to(tmp_path / "one")
    ours = certificate(link)
    (tmp_path / "draft").symlink_to(tmp_path / "two")
    os.replace(tmp_path / "draft", link)
    assert ours.renew()
    assert Ends(ours.context).named == "two.example"


async def test_files_are_looked_at_by_themselves_and_at_once_when_asked(tmp_path: Path) -> None:
    write(tmp_path, "old.example")
    ours = certificate(tmp_path)
    async with kept_fresh(ours, every_s=0.01):
        write(tmp_path, "new.example")
        await until(lambda: "new.example" in ours.facts.names)
    async with kept_fresh(ours, every_s=3600) as look_again:
        write(tmp_path, "newer.example")
        look_again()
        await until(lambda: "newer.example" in ours.facts.names)
    assert len(asyncio.all_tasks()) == 1


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if true():
                return
            await asyncio.sleep(0.005)


def test_only_sound_protocols_are_spoken(tmp_path: Path) -> None:
    write(tmp_path, "old.example")
    context = certificate(tmp_path).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        Ends(context, ciphers="AES128-SHA:@SECLEVEL=0")  # no forward secrecy


def test_what_a_person_wants_to_know_of_a_certificate(tmp_path: Path) -> None:
    write(tmp_path, "voice.example", days=10)
    facts = facts_of((tmp_path / "cert.pem").read_bytes())
    assert (facts.issuer, facts.length, facts.self_signed) == ("voice.example", 1, True)
    assert facts.covers("VOICE.example.")
    assert facts.covers("a.voice.example")
    assert not facts.covers("a.b.voice.example")
    assert not facts.covers("evil.example")
    assert round(facts.left_s(NOW) / 86_400) == 10
    ours = certificate(tmp_path)
    for days, events in ((0, ["tls.expires"]), (11, ["tls.expired"]), (-60, [])):
        with capture_logs() as lines:
            ours.complain(NOW + timedelta(days=days))
        assert [line["event"] for line in lines] == events
