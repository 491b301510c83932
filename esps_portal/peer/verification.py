"""What makes a strict test fail for a peer, and the report of what happened there."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from esps_portal.journal.shown_bytes import EMPTY, shown_in_lines
from esps_portal.mock.answer_chain import describe_stub
from esps_portal.mock.frame_script import FrameScript, UnexpectedFrame
from esps_portal.mock.scripted_conversation import ScriptedConversation
from esps_portal.mock.verification import fault_problems, report_text
from esps_portal.peer.state import PeerState
from esps_portal.protocol.escape import visible_lines

# Bytes of a frame that is shown.
_MAX_FRAME = 256
# How a TLS record with a ClientHello begins (RFC 8446, sections 4 and 5.1).
_CLIENT_HELLO = re.compile(rb"(?s)\x16\x03[\x00-\x04]..\x01")
# Unused stubs that a report names: to look for what shadows each goes through all before it.
_MAX_UNUSED = 100


def find_problems(state: PeerState) -> list[str]:
    """Return a text for each problem; empty if there is none."""
    script = state.script
    return [
        *map(_describe_unexpected, script.unexpected),
        *(
            f"{what}:\n{_indented(visible_lines(trace.rstrip()))}"
            for what, trace in script.failures
        ),
        *_describe_unused(script),
        *map(_describe_unfinished, script.unfinished()),
        *fault_problems(state.faults),
        *(f"bytes that are not a frame: {text}" for text in state.leftovers),
    ]


def problem_report(state: PeerState, problems: list[str]) -> str:
    """Return the problems and the transcript, as a text for a person."""
    return report_text(problems, state.faults, state.journal, _notes(state))


def _notes(state: PeerState) -> Iterator[str]:
    """Yield a line for the first client that began a TLS handshake, which a plain peer cannot do.

    What a peer over TLS has in its journal is plain text.
    """
    for exchange in state.journal.exchanges:
        is_first = exchange.transport == "tcp" and exchange.number == 1
        if is_first and _CLIENT_HELLO.match(exchange.request):
            where = f"tcp #{exchange.connection}"
            yield f"{where} began a TLS handshake, and this peer is plain: start it with tls=True"
            return


def _describe_unexpected(unexpected: UnexpectedFrame) -> str:
    lines = list(_shown_frame(unexpected.frame))
    if len(lines) == 1:
        head = f"unexpected frame ({unexpected.where}): {lines[0]}"
    else:
        head = "\n".join([f"unexpected frame ({unexpected.where}):", *map(_indented, lines)])
    return f"{head}\n{_indented(unexpected.why)}"


def _shown_frame(frame: bytes) -> Iterator[str]:
    yield from shown_in_lines(frame, _MAX_FRAME) if frame else [EMPTY]


def _describe_unused(script: FrameScript) -> Iterator[str]:
    """Yield a problem for each of the first unused stubs, and one for all others."""
    unused = script.unused()
    for stub in unused[:_MAX_UNUSED]:
        found, shadow = f"unused stub: {describe_stub(stub)}", script.shadow_of(stub)
        if shadow is not None:
            why = f"an earlier stub answers its frame: {describe_stub(shadow)}"
            found = f"{found}\n{_indented(why)}"
        yield found
    if len(unused) > _MAX_UNUSED:
        yield f"unused stubs: {len(unused) - _MAX_UNUSED} more"


def _describe_unfinished(conversation: ScriptedConversation) -> str:
    count = f"{conversation.done} of {len(conversation.steps)} steps done"
    if not conversation.has_begun:
        return f"unused {conversation}: never begun"
    next_step = conversation.steps[conversation.done]
    return f"unfinished {conversation}: {count}; next: {next_step}"


def _indented(text: str) -> str:
    return textwrap.indent(text, "    ")
