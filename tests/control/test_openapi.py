"""The description of the control port: valid, complete, and served."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jsonschema import Draft202012Validator

from esps_portal import __version__
from esps_portal.control.root import NAMED_ROUTES, OWN_ROUTES
from esps_portal.control.router import Routes
from esps_portal.control.routes import PUSH_ROUTES, SERVER_ROUTES, STUB_ROUTES
from tests.control.controlled import controlled
from tests.control.described import DOCUMENT, operation_of


def test_it_is_valid() -> None:
    import openapi_spec_validator  # noqa: PLC0415 - no other test waits for it

    openapi_spec_validator.validate(DOCUMENT)
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    ids = [o["operationId"] for item in DOCUMENT["paths"].values() for o in operations(item)]
    assert len(set(ids)) == len(ids)
    assert DOCUMENT["info"]["version"] == __version__


def operations(item: dict[str, object]) -> Iterator[dict[str, object]]:
    return (each for key, each in item.items() if key != "parameters" and isinstance(each, dict))


def endpoints(routes: Routes, root: str) -> set[tuple[str, str]]:
    found = set()
    for pattern, methods in routes.items():
        path = f"{root}/{pattern}".rstrip("/")
        found |= {(method, path.replace("*", "{}")) for method in methods}
    return found


def test_it_has_every_endpoint_and_no_other() -> None:
    described = {
        (method.upper(), path.replace("{id}", "{}").replace("{name}", "{}"))
        for path, item in DOCUMENT["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert described == (
        endpoints(OWN_ROUTES, "")
        | endpoints({**STUB_ROUTES, **PUSH_ROUTES, **SERVER_ROUTES}, "")
        | endpoints(NAMED_ROUTES, "/proxies")
        | endpoints(SERVER_ROUTES, "/proxies/{}")
        | endpoints(NAMED_ROUTES, "/peers")
        | endpoints({**STUB_ROUTES, **PUSH_ROUTES, **SERVER_ROUTES}, "/peers/{}")
    )


async def test_it_is_served() -> None:
    async with controlled() as it:
        assert await (await it.client()).get("/openapi.json") == DOCUMENT


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/stubs"),
        ("GET", "/nowhere"),
        ("POST", "/proxies/a/stubs"),
        ("POST", "/proxies/a/push"),
    ],
)
def test_what_it_has_not(method: str, path: str) -> None:
    assert operation_of(method, path) is None
