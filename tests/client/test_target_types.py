"""A target that is not text: an error that says what to write, from both clients."""

from __future__ import annotations

import re
from typing import Any

import pytest

from esps_portal import blocking, connect

NOT_TEXT: list[tuple[Any, str]] = [
    (None, "got None; write 'localhost:2867' or 'esps://localhost'"),
    (5, "got 5; write 'localhost:2867'"),
    (b"localhost", "got b'localhost'; write 'localhost:2867'"),
    (("127.0.0.1", 1), "write '127.0.0.1:1', or f\"{host}:{port}\""),
    (("::1", 1, 0, 0), "write '[::1]:1', or"),
]


@pytest.mark.parametrize(("target", "message"), NOT_TEXT)
async def test_a_target_that_is_not_text(target: Any, message: str) -> None:  # noqa: ANN401 - wrong ones
    with pytest.raises(TypeError, match=re.escape(message)), blocking.connect(target):
        pass
    with pytest.raises(TypeError, match=re.escape(message)):
        async with connect(target):
            pass
