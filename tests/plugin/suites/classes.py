"""A suite of `unittest` classes."""

from __future__ import annotations

import unittest

import pytest

from esps_portal import blocking
from esps_portal.testing import PortalController


class PriceTest(unittest.TestCase):
    portal: PortalController

    @pytest.fixture(autouse=True)
    def _use(self, esps_portal: PortalController) -> None:
        self.portal = esps_portal

    def ask(self) -> str:
        with blocking.connect(self.portal.url) as client:
            return client.call("price", "sku-1")[0].decode()

    def test_a_price(self) -> None:
        self.portal.stub("price", "sku-1").reply("9.99")
        self.assertEqual(self.ask(), "9.99")  # noqa: PT009 - this suite is unittest's

    def test_another(self) -> None:
        self.assertEqual(self.portal.journal(), [])  # noqa: PT009
        self.portal.stub("price", "sku-1").reply("5")
        self.assertEqual(self.ask(), "5")  # noqa: PT009


@pytest.mark.usefixtures("esps_portal")
class StubTest(unittest.IsolatedAsyncioTestCase):
    async def test_in_a_loop(self) -> None:
        """The fixture works without being an argument."""
