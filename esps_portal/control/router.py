"""Which endpoint a request is for: a table of paths, and for each of its methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from esps_portal.control.endpoint import Endpoint
from esps_portal.control.http_messages import HttpError, RequestHead

#: The part of a path that is a name or an ID.
ANY_NAME = "*"

#: The endpoints of something that is controlled: by path, such as ``stubs/*``, and by method.
Routes = Mapping[str, Mapping[str, Endpoint]]


@attrs.frozen
class FoundEndpoint:
    """What a request is for.

    Attributes:
        endpoint: what to call.
        controls: what that controls.
        name: the part of the path that is a name or an ID; empty for none.
    """

    endpoint: Endpoint
    controls: Any
    name: str = ""


class EndpointFinder(Protocol):
    """Knows all endpoints of a control port."""

    def find(self, head: RequestHead) -> FoundEndpoint:
        """Return what a request is for. Raises `HttpError`: there is no such path or method."""


def find_endpoint(
    routes: Routes, controls: object, parts: list[str], head: RequestHead
) -> FoundEndpoint | None:
    """Return what a request is for; ``None``: these routes have no such path.

    Args:
        parts: of the path.

    Raises:
        HttpError: the path has other methods.
    """
    if ANY_NAME in parts or "" in parts:  # no name, and no end of a path
        return None
    pattern, name = "/".join(parts), ""
    if pattern not in routes:
        *before, name = parts
        pattern = "/".join([*before, ANY_NAME])
    methods = routes.get(pattern)
    if methods is None:
        return None
    # A reply to HEAD is that to GET, without its body.
    endpoint = methods.get("GET" if head.method == "HEAD" else head.method)
    if endpoint is None:
        allowed = [*methods, *(["HEAD"] if "GET" in methods else [])]
        raise HttpError(
            405,
            f"{head.path} has no {head.method}; it has {', '.join(allowed)}",
            headers={"Allow": ", ".join(allowed)},
        )
    return FoundEndpoint(endpoint, controls, name)
