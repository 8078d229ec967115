"""Ray's ``ray.util.state.exception``. Nothing here raises them: they are there to be caught."""

from __future__ import annotations

__all__ = ["DataSourceUnavailable", "RayStateApiException", "ServerUnavailable"]


class RayStateApiException(Exception):
    """The state cannot be told."""


class ServerUnavailable(RayStateApiException):
    """The dashboard does not answer; the runtime itself answers here."""


class DataSourceUnavailable(RayStateApiException):
    """A part of the cluster does not answer."""
