"""smtplib and aiosmtplib against a peer: there is no server of SMTP here."""

from __future__ import annotations

import asyncio
import re
import smtplib

import pytest

from esps_portal.testing import PeerController, PeerFactory, close, lines, send
from tests.optional import package
from tests.patience import PATIENCE

aiosmtplib = package("aiosmtplib")

MESSAGE = "Subject: hi\r\n\r\nhello\r\n"
A, B = "a@example.org", "b@example.org"


@pytest.fixture
def mail(esps_peer: PeerFactory) -> PeerController:
    """A peer that says what a server sends until recipients are named."""
    mail = esps_peer(lines("\r\n"), greeting="220 ready")
    mail.stub(re.compile(rb"(?i)^(ehlo|mail|rset)")).reply("250 ok")
    mail.stub(re.compile(rb"(?i)^quit")).reply("221 bye").then_close().optional()
    return mail


def take_message(mail: PeerController) -> None:
    """Take DATA, and each line of a message; the one with a dot is left to others."""
    mail.stub(re.compile(rb"(?i)^data$")).reply("354 go on")
    mail.stub(re.compile(rb"^(Subject: |hello$|$)")).reply()


def deliver_async(mail: PeerController, timeout: float) -> None:
    async def deliver() -> None:
        client = aiosmtplib.SMTP(hostname=mail.host, port=mail.port, timeout=timeout)
        async with client:
            await client.sendmail(A, [B], MESSAGE)

    asyncio.run(deliver())


def test_a_server_that_is_closing(esps_peer: PeerFactory) -> None:
    """Its first words are its last (RFC 5321, section 3.8)."""
    mail = esps_peer(lines("\r\n"))
    for _ in range(2):
        mail.conversation(send("421 try later"), close())
    with pytest.raises(smtplib.SMTPConnectError) as raised:
        smtplib.SMTP(mail.host, mail.port, timeout=PATIENCE)
    assert raised.value.smtp_code == 421
    with pytest.raises(aiosmtplib.SMTPConnectResponseError, match="421"):
        deliver_async(mail, 10)


def test_greylisted(mail: PeerController) -> None:
    mail.stub(re.compile(rb"(?i)^rcpt")).reply("450 later").reply("250 ok")
    with smtplib.SMTP(mail.host, mail.port, timeout=PATIENCE) as client:
        client.ehlo()
        client.mail(A)
        assert [client.rcpt(B)[0], client.rcpt(B)[0]] == [450, 250]


def test_aiosmtplib_is_greylisted_and_tries_again(mail: PeerController) -> None:
    mail.stub(re.compile(rb"(?i)^rcpt")).reply("450 later").reply("250 ok")
    take_message(mail)
    mail.stub(".").reply("250 kept")
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
        deliver_async(mail, 10)
    deliver_async(mail, 10)
    assert len(mail.connections()) == 2


def test_silence_after_data(mail: PeerController) -> None:
    """The message was sent, and nobody says whether it is kept."""
    mail.stub(re.compile(rb"(?i)^rcpt")).reply("250 ok")
    take_message(mail)
    mail.stub(".").reply()
    with smtplib.SMTP(mail.host, mail.port, timeout=PATIENCE) as client:
        client.ehlo()
        client.mail(A)
        client.rcpt(B)
        assert client.sock is not None
        client.sock.settimeout(1)
        with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
            client.data(MESSAGE)
    with pytest.raises(aiosmtplib.SMTPReadTimeoutError):
        deliver_async(mail, 1)
    assert len(mail.exchanges(re.compile(rb"^\.\r\n$"))) == 2


def test_a_reply_that_is_cut_off_is_none(mail: PeerController) -> None:
    fault = mail.fault("close", match=re.compile(rb"(?i)^mail"), offset=0)
    with smtplib.SMTP(mail.host, mail.port, timeout=PATIENCE) as client:
        client.ehlo()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.mail(A)
    assert fault.happened == 1
