"""Ray's ``ray.util.state.exception``. Some of them are there to be caught only."""

from __future__ import annotations

__all__ = ["DataSourceUnavailable", "RayStateApiException", "ServerUnavailable"]


class RayStateApiException(Exception):
    """The state cannot be told."""


class ServerUnavailable(RayStateApiException):
    """The dashboard does not answer; the runtime itself answers here."""


class DataSourceUnavailable(RayStateApiException):
    """A part of the cluster does not answer."""


class UnsupportedColumn(RayStateApiException, ValueError):
    """There is no column of this name to filter by. Ray's server raises the one, who asks it gets the other."""
