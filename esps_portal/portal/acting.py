"""A stub's answer that takes its time, as the service that a carrier runs."""

from __future__ import annotations

import trio

from esps_portal.portal.services import CallContext, Service
from esps_portal.portal.stubs import Answer
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.messages import OK


def as_task(answer: Answer) -> Service:
    """Return a service that waits and sends as ``answer`` says, whatever its arguments."""

    async def act(*_args: bytes, call: CallContext) -> tuple[bytes, ...]:
        for step in answer.steps:
            if isinstance(step, tuple):
                await call.data(*step)
            else:
                await trio.sleep(step)
        if answer.kind == OK:
            return answer.args
        raise ReplyError(answer.args[0].decode(), *answer.args[1:])

    return Service.declare(act, name="stub")
