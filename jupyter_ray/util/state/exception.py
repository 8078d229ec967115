"""Ray's ``ray.util.state.exception``. Some of them are there to be caught only."""

from __future__ import annotations

__all__ = ["DataSourceUnavailable", "RayStateApiException", "ServerUnavailable"]


class RayStateApiException(Exception):
    """The state cannot be told."""


class ServerUnavailable(RayStateApiException):
    """The dashboard does not answer; the runtime itself answers here."""


class DataSourceUnavailable(RayStateApiException):
    """A part of the cluster does not answer."""


class BadRequest(RayStateApiException, ValueError):
    """What was asked makes no sense: Ray's server raises the one, who asks it the other."""
