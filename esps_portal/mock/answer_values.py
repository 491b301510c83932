"""The answers of a stub as values of a scenario: keys of the stub itself, or a list ``answers``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from esps_portal.journal.values import ValueTable, read_list
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Answer = TypeVar("_Answer")


def read_answers(
    stub: ValueTable, keys: Sequence[str], read: Callable[[ValueTable], _Answer]
) -> tuple[_Answer, ...]:
    """Return the answers of a stub.

    Args:
        stub: its table.
        keys: those of an answer.
        read: returns the answer in a table.

    Raises:
        ScenarioError: a key is wrong, or stands both in the stub and beside a list of answers.
    """
    own_keys = [key for key in keys if key in stub.values]
    if "answers" not in stub.values:
        return (read(stub),) if own_keys else ()
    if own_keys:
        raise stub.error(own_keys[0], "move it into one of the answers")

    def read_item(value: object, path: str) -> _Answer:
        return read(ValueTable.of(value, path, keys))

    return stub.required("answers", partial(read_list, read_item))


def answers_to_values(answers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what the table of a stub holds of its answers."""
    if len(answers) == 1:
        return answers[0]
    return {"answers": answers} if answers else {}
