"""A peer of a scenario: the ``[[peers]]`` and ``[[peers.stubs]]`` of a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs

from esps_portal.faults.matching import Matchable
from esps_portal.framings.framing import Framing, FramingError
from esps_portal.journal.values import (
    ScenarioError,
    ValueTable,
    bytes_from_value,
    bytes_to_value,
    join_path,
    read_bool,
    read_list,
    read_positive_integer,
    read_seconds,
    wrong_value,
)
from esps_portal.mock.answer_chain import StubError
from esps_portal.mock.answer_values import answers_to_values, read_answers
from esps_portal.mock.echo import Echo
from esps_portal.mock.frame_stubs import FrameAnswer, FrameStub
from esps_portal.mock.framing_values import framing_to_value, read_framing
from esps_portal.mock.match_values import frame_match_to_value, read_frame_match
from esps_portal.mock.planned_fault import PlannedFault, fault_to_values, read_fault
from esps_portal.mock.server_names import read_server_name
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_KEYS = ("name", "framing", "greeting", "udp", "stubs", "faults")
_ANSWER_KEYS = ("reply", "raw", "echo", "delay", "then_close", "then_reset", "times")
_STUB_KEYS = ("match", *_ANSWER_KEYS, "answers", "optional")
_HEX = "hex"


def _as_frame(match: Matchable) -> Matchable:
    return match.encode() if isinstance(match, str) else match


@attrs.frozen
class PlannedFrameStub:
    """The plan of a stub of a peer; see `esps_portal.mock.frame_stubs`.

    Attributes:
        match: the frame, as bytes, or a compiled regular expression or a predicate.
    """

    match: Matchable = attrs.field(converter=_as_frame)
    answers: tuple[FrameAnswer, ...] = ()
    optional: bool = False

    @classmethod
    def of(cls, stub: FrameStub) -> PlannedFrameStub:
        """Return the plan of a placed stub; its uses do not count."""
        answers = tuple(attrs.evolve(answer, done=True) for answer in stub.answers)
        return cls(stub.matcher.given, answers, stub.is_optional)

    def make(self, framings: Sequence[Framing], path: str = "") -> FrameStub:
        """Return a new stub.

        Args:
            framings: one for each transport; replies must be frames of each of these.
            path: of the stub in the scenario, for an error.

        Raises:
            ScenarioError: no frame can match, a reply is not a frame, or an echo ends beyond it.
        """
        try:
            stub = FrameStub(self.match, framings)
        except FramingError as error:
            raise ScenarioError(join_path(path, "match"), str(error)) from error
        stub.is_optional = self.optional
        for number, answer in enumerate(self.answers):
            key = f"answers[{number}]" if len(self.answers) > 1 else ""
            try:
                stub.add(answer)
            except FramingError as error:
                raise ScenarioError(join_path(join_path(path, key), "reply"), str(error)) from error
            except StubError as error:
                raise ScenarioError(join_path(join_path(path, key), "echo"), str(error)) from error
        return stub


@attrs.frozen
class PlannedPeer:
    """The plan of a peer.

    Attributes:
        name: a letter, then letters, digits, ``-``, ``.``, ``_``.
        framing: how a stream is cut into frames; ``None``: not given: an option must give it.
        greeting: the frames that it sends first.
        udp: it is served over UDP too.
        stubs: those that answer from the start.
        faults: those that are in force from the start.
    """

    name: str
    framing: Framing | None = None
    greeting: tuple[bytes, ...] = ()
    udp: bool = False
    stubs: tuple[PlannedFrameStub, ...] = ()
    faults: tuple[PlannedFault, ...] = ()


# ---- reading -----------------------------------------------------------------------------------


def read_peer(value: object, path: str) -> PlannedPeer:
    """Return one peer of a scenario.

    Raises:
        ScenarioError: a key is wrong.
    """
    table = ValueTable.of(value, path, _KEYS)
    return PlannedPeer(
        name=table.required("name", read_server_name),
        framing=table.required("framing", read_framing),
        greeting=table.get("greeting", read_frames, ()),
        udp=table.get("udp", read_bool, default=False),
        stubs=table.get("stubs", partial(read_list, read_frame_stub), ()),
        faults=table.get("faults", partial(read_list, partial(read_fault, where=None)), ()),
    )


def read_frame_stub(value: object, path: str = "") -> PlannedFrameStub:
    """Return a stub of a peer.

    Raises:
        ScenarioError: a key is wrong.
    """
    table = ValueTable.of(value, path, _STUB_KEYS)
    return PlannedFrameStub(
        match=table.required("match", read_frame_match),
        answers=read_answers(table, _ANSWER_KEYS, _answer),
        optional=table.get("optional", read_bool, default=False),
    )


def _answer(table: ValueTable) -> FrameAnswer:
    for one, other in (("reply", "raw"), ("then_close", "then_reset")):
        if one in table.values and other in table.values:
            raise table.error(other, f"an answer has either {one} or {other}, not both")
    is_raw = "raw" in table.values
    ends = [how for how in ("close", "reset") if table.get(f"then_{how}", read_bool, default=False)]
    return FrameAnswer(
        frames=(table.required("raw", _frame),) if is_raw else table.get("reply", read_frames, ()),
        is_raw=is_raw,
        echoes=table.get("echo", _echoes, ()),
        delay=table.get("delay", read_seconds, 0.0),
        end="".join(ends),
        times=table.get("times", read_positive_integer, None),
        done=True,
    )


def read_frames(value: object, path: str) -> tuple[bytes, ...]:
    """Return frames: a list, or a single one.

    Raises:
        ScenarioError: one is neither text nor bytes.
    """
    return read_list(_frame, value, path) if isinstance(value, list) else (_frame(value, path),)


def _frame(value: object, path: str) -> bytes:
    try:
        if isinstance(value, dict) and value.keys() == {_HEX}:
            return bytes.fromhex(value[_HEX])
        return bytes_from_value(value)
    except (TypeError, ValueError):
        raise wrong_value(path, 'text, {hex = "..."} or {b64 = "..."}', value) from None


def _echoes(value: object, path: str) -> tuple[Echo, ...]:
    is_one = isinstance(value, list) and all(type(place) is int for place in value)
    pairs = [value] if is_one else value
    return read_list(_echo, pairs, path)


def _echo(value: object, path: str) -> Echo:
    match value:
        case [int() as start, int() as stop] if 0 <= start < stop:
            return start, stop
    raise wrong_value(path, "[from, to], two places in the request", value)


# ---- writing -----------------------------------------------------------------------------------


def peer_to_values(peer: PlannedPeer, path: str = "") -> dict[str, Any]:
    """Return a peer as values for TOML or JSON.

    Args:
        path: of the peer, for an error.

    Raises:
        ScenarioError: a framing, a stub or a fault has code in it, which cannot be written.
    """
    values: dict[str, Any] = {"name": peer.name}
    if peer.framing is not None:
        values["framing"] = framing_to_value(peer.framing, f"{path}.framing")
    if peer.greeting:
        values["greeting"] = _frames_to_value(peer.greeting)
    if peer.udp:
        values["udp"] = True
    stubs = [frame_stub_to_values(stub, f"{path}.stubs[{n}]") for n, stub in enumerate(peer.stubs)]
    faults = [fault_to_values(f, f"{path}.faults[{n}]") for n, f in enumerate(peer.faults)]
    return values | {key: each for key, each in (("stubs", stubs), ("faults", faults)) if each}


def frame_stub_to_values(stub: PlannedFrameStub, path: str = "") -> dict[str, Any]:
    """Return a stub of a peer as values for TOML or JSON; as `peer_to_values` does."""
    values: dict[str, Any] = {"match": frame_match_to_value(stub.match, f"{path}.match")}
    values |= answers_to_values([_answer_to_values(answer) for answer in stub.answers])
    return values | {"optional": True} if stub.optional else values


def _answer_to_values(answer: FrameAnswer) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if answer.is_raw:
        values["raw"] = bytes_to_value(answer.frames[0])
    else:
        values["reply"] = _frames_to_value(answer.frames)
    if answer.echoes:
        echoes = [list(echo) for echo in answer.echoes]
        values["echo"] = echoes[0] if len(echoes) == 1 else echoes
    if answer.delay:
        values["delay"] = answer.delay
    if answer.end:
        values[f"then_{answer.end}"] = True
    return values if answer.times is None else values | {"times": answer.times}


def _frames_to_value(frames: Sequence[bytes]) -> object:
    values = [bytes_to_value(frame) for frame in frames]
    return values[0] if len(values) == 1 else values
