"""paho-mqtt through a proxy, in front of mosquitto."""

from __future__ import annotations

import threading
from typing import Any

from esps_portal.testing import ProxyFactory
from tests.optional import package
from tests.patience import PATIENCE

mqtt = package("paho.mqtt.client")
# PINGREQ (MQTT 3.1.1, section 3.12).
_PINGREQ = b"\xc0\x00"


def test_keep_alive_notices_a_stall(esps_proxy: ProxyFactory, mosquitto_port: int) -> None:
    proxy = esps_proxy(f"tcp://127.0.0.1:{mosquitto_port}")
    fault = proxy.fault("stall", match=_PINGREQ, times=1)
    connected, lost = threading.Event(), threading.Event()
    reasons: list[str] = []

    def on_disconnect(_: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:  # noqa: ANN401 - paho's
        reasons.append(str(reason))
        lost.set()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: connected.set()
    client.on_disconnect = on_disconnect
    client.connect(proxy.host, proxy.port, keepalive=1)
    client.loop_start()
    try:
        assert connected.wait(PATIENCE)
        assert lost.wait(PATIENCE)
    finally:
        client.disconnect()
        client.loop_stop()
        if (left_open := client.socket()) is not None:  # its loop has not closed it
            left_open.close()
    assert "Keep alive" in reasons[0]
    assert fault.happened == 1
