"""How a service is declared: the keywords, and what its function must be.

A mistake is reported where the service is declared; otherwise only a client would see it, much
later.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from esps_portal.given_numbers import shown_value
from esps_portal.protocol import grammar
from esps_portal.tracebacks import hides_frame
from esps_portal.user_functions import check_function, yields

__tracebackhide__ = hides_frame


class Declaration(TypedDict, total=False):
    """The keywords of a service declaration; all are optional."""

    #: Default: the function's name, with ``-`` for ``_``.
    name: str
    #: Default: the first line of the function's docstring.
    summary: str
    #: The arguments, as in ``LINES [WIDTH]``. Default: empty.
    usage: str
    #: Default: false; over UDP a call is then executed at most once, however often it is sent.
    idempotent: bool
    #: Default: ``tcp`` and ``udp``.
    transports: Iterable[str]


def check_is_service(function: object) -> None:
    """Check that something is a function that can be a service.

    Raises:
        TypeError: it is not; the text says how a service is declared.
    """
    if isinstance(function, str):
        raise TypeError(
            f"a service must be a function, got {shown_value(function)}:"
            f" name one with @portal.service(name={shown_value(function)})"
        )
    if callable(function) and yields(function):
        raise TypeError(
            "a service sends lines with `await call.data(...)`, in an async def, not with yield"
        )
    check_function(function, "a service")


def check_types(declaration: Declaration) -> None:
    """Check the keywords of a declaration that are not checked for their value.

    Raises:
        TypeError: one is unknown, or of the wrong type.
    """
    unknown = sorted(declaration.keys() - Declaration.__annotations__.keys())
    if unknown:
        known = ", ".join(Declaration.__annotations__)
        raise TypeError(f"a service is declared with {known}, not with {unknown[0]}")
    for keyword in ("name", "summary", "usage"):
        value = declaration.get(keyword, "")
        if not isinstance(value, str):
            raise TypeError(f"{keyword} of a service must be text, got {shown_value(value)}")
    idempotent = declaration.get("idempotent", False)
    if not isinstance(idempotent, bool):
        raise TypeError(f"idempotent must be true or false, got {shown_value(idempotent)}")


def service_name(function: Callable[..., Any], given: str | None) -> str:
    """Return the name of a service: as given, or else that of its function.

    Raises:
        ValueError: it is not a service name.
    """
    # A callable object, such as a partial, may have no name.
    own = getattr(function, "__name__", "")
    name = own.replace("_", "-") if given is None else given
    if grammar.NAME.fullmatch(name.encode("utf-8", "replace")):
        return name
    why = f"{name!r} is not a name: a-z, then up to 63 of a-z 0-9 - . _"
    if given is not None:
        raise ValueError(why)
    of_what = f"function {own}" if own else shown_value(function)
    raise ValueError(f"the service of {of_what} needs a name: @portal.service(name=...); {why}")


def checked_transports(given: Iterable[str]) -> frozenset[str]:
    """Return the transports of a service as a set.

    Raises:
        ValueError: one is unknown, or there is none.
    """
    # Text is an iterable of letters.
    transports = frozenset([given] if isinstance(given, str) else given)
    if not transports or transports - {"tcp", "udp"}:
        raise ValueError(f"transports must be tcp, udp or both, got {sorted(transports)}")
    return transports


def arity(function: Callable[..., Any]) -> tuple[int, int, bool]:
    """Return the minimum and maximum number of arguments, and whether it takes ``call``.

    Raises:
        TypeError: it cannot be called with the arguments of a request, and ``call``, alone.
    """
    min_args, max_args = 0, 0
    takes_any_number = wants_call = False
    for parameter in _parameters(function):
        if parameter.kind is parameter.VAR_POSITIONAL:
            takes_any_number = True
        elif parameter.kind is parameter.KEYWORD_ONLY:
            _check_keyword_only(parameter)
            wants_call = wants_call or parameter.name == "call"
        elif parameter.kind is not parameter.VAR_KEYWORD:
            if parameter.name == "call":
                raise TypeError("call of a service must be keyword-only: put it last, after `*, `")
            max_args += 1
            min_args += parameter.default is parameter.empty
    return min_args, sys.maxsize if takes_any_number else max_args, wants_call


def _parameters(function: Callable[..., Any]) -> Iterable[inspect.Parameter]:
    try:
        return inspect.signature(function).parameters.values()
    except ValueError:  # it is written in C, and does not say
        return [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]


def _check_keyword_only(parameter: inspect.Parameter) -> None:
    if parameter.name != "call" and parameter.default is parameter.empty:
        raise TypeError(
            "a service gets the arguments of a request by position, and call= alone by keyword:"
            f" its {parameter.name} has no value"
        )
