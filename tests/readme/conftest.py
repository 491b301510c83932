"""The redis that an example of the README stands in front of."""

from tests.protocols.conftest import redis_port

__all__ = ["redis_port"]
