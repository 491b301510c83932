"""pymodbus against a peer: Modbus/TCP, whose replies carry the transaction of their request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from esps_portal.testing import PeerController, PeerFactory, length_prefixed
from tests.optional import package
from tests.patience import PATIENCE

pymodbus_client = package("pymodbus.client")
pymodbus_exceptions = package("pymodbus.exceptions")

# Transaction, protocol 0, length, unit, then the PDU: "read 1 register from 0", and 42.
READ = bytes.fromhex("0000 0006 01 03 0000 0001")
REPLY = bytes.fromhex("ffff 0000 0005 01 03 02 002a")


@pytest.fixture
def peer(esps_peer: PeerFactory) -> PeerController:
    return esps_peer(length_prefixed(2, at=4))


@contextlib.contextmanager
def connected(peer: PeerController, timeout: float) -> Iterator[Any]:
    made = pymodbus_client.ModbusTcpClient(peer.host, port=peer.port, timeout=timeout, retries=0)
    assert made.connect()
    yield made
    made.close()


@pytest.fixture
def client(peer: PeerController) -> Iterator[Any]:
    with connected(peer, PATIENCE) as made:
        yield made


@pytest.fixture
def impatient(peer: PeerController) -> Iterator[Any]:
    """Return a client for what it waits for in vain."""
    with connected(peer, 0.3) as made:
        yield made


def is_read(frame: bytes) -> bool:
    return frame[2:] == READ


def test_the_transaction_is_copied(
    peer: PeerController,
    client: Any,  # noqa: ANN401 - pymodbus, typed or not
) -> None:
    peer.stub(is_read).reply(REPLY, echo=(0, 2))
    for _ in range(3):
        assert client.read_holding_registers(0).registers == [42]
    transactions = {found.request[:2] for found in peer.exchanges()}
    assert len(transactions) == 3
    assert all(found.reply[:2] == found.request[:2] for found in peer.exchanges())


def test_a_reply_to_another_transaction_is_not_believed(
    peer: PeerController,
    impatient: Any,  # noqa: ANN401 - pymodbus, typed or not
) -> None:
    peer.stub(is_read).reply(REPLY, echo=(0, 2))
    with peer.fault("patch", at=0, hex="7f7f", times=1) as fault:
        with pytest.raises(pymodbus_exceptions.ModbusException):
            impatient.read_holding_registers(0)
        assert fault.happened == 1


def test_an_exception_of_the_device(
    peer: PeerController,
    client: Any,  # noqa: ANN401 - pymodbus, typed or not
) -> None:
    """Function 0x83 with the code 2, illegal data address."""
    peer.stub(is_read).reply(bytes.fromhex("ffff 0000 0003 01 83 02"), echo=(0, 2))
    found = client.read_holding_registers(0)
    assert found.isError()
    assert found.exception_code == 2


def test_half_a_reply(peer: PeerController, impatient: Any) -> None:  # noqa: ANN401 - pymodbus, typed or not
    peer.stub(is_read).raw(REPLY[:7], echo=(0, 2))
    with pytest.raises(pymodbus_exceptions.ModbusException):
        impatient.read_holding_registers(0)
