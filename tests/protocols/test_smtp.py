"""smtplib through a proxy, in front of aiosmtpd."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator
from typing import Any

import pytest

from esps_portal.testing import ProxyFactory, lines
from tests.optional import package
from tests.patience import PATIENCE
from tests.protocols.conftest import free_port

controllers = package("aiosmtpd.controller")
MESSAGE = "Subject: hi\r\n\r\nhello\r\n"


class Mailbox:
    """Keeps what was delivered."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:  # noqa: ANN401, N802 - aiosmtpd's
        self.messages.append(envelope.content)
        return "250 kept"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp_port(mailbox: Mailbox) -> Iterator[int]:
    # It cannot be asked which port it took for 0, so it gets one that is free, if nobody is faster.
    for _ in range(100):
        controller = controllers.Controller(mailbox, hostname="127.0.0.1", port=free_port())
        try:
            controller.start()
        except OSError:
            continue
        break
    yield controller.port
    controller.stop()


def test_the_reply_to_data_is_lost(
    esps_proxy: ProxyFactory, mailbox: Mailbox, smtp_port: int
) -> None:
    """It is delivered, and reported as failed: who sends it again delivers it twice."""
    proxy = esps_proxy(f"tcp://127.0.0.1:{smtp_port}")
    proxy.fault("close", match=b"\r\n.\r\n", times=1)
    with (
        pytest.raises(smtplib.SMTPServerDisconnected),
        smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client,
    ):
        client.sendmail("a@example.org", ["b@example.org"], MESSAGE)
    assert len(mailbox.messages) == 1


def test_a_greeting_that_never_comes(esps_proxy: ProxyFactory, smtp_port: int) -> None:
    proxy = esps_proxy(f"tcp://127.0.0.1:{smtp_port}")
    proxy.fault("stall", reply=0)
    with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
        smtplib.SMTP(proxy.host, proxy.port, timeout=0.3)


def test_a_reply_without_its_terminator(esps_proxy: ProxyFactory, smtp_port: int) -> None:
    proxy = esps_proxy(f"tcp://127.0.0.1:{smtp_port}", framing=lines("\r\n"))
    proxy.fault("no-terminator", match=re.compile(rb"(?i)^noop$"))
    with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
        client.ehlo()
        assert client.sock is not None
        client.sock.settimeout(0.3)
        with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
            client.noop()
