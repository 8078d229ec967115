"""Names that Ray exports and that programs read."""

from __future__ import annotations

import dataclasses
import enum
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_ray.engine.log_format import STANDARD_ATTRIBUTES

logger = logging.getLogger("jupyter_ray")
"""The logger of this package."""

SCRIPT_MODE = 0
"""This process is a driver."""

WORKER_MODE = 1
"""This process is a worker."""

LOCAL_MODE = 2
"""No longer offered (as in Ray)."""


class Language(enum.Enum):
    """The language of a task. Here: Python."""

    PYTHON = 0
    JAVA = 1
    CPP = 2


@dataclasses.dataclass
class LoggingConfig:
    """How the root logger writes, in the driver and in the workers; for `init`. Source: Ray's ``LoggingConfig``.

    Attributes
    ----------
    encoding
        ``"TEXT"`` or ``"JSON"``.
    log_level
        Name of the level.
    additional_log_standard_attrs
        Names of further attributes of log records.
    """

    encoding: str = "TEXT"
    log_level: str = "INFO"
    additional_log_standard_attrs: Sequence[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.encoding not in ("TEXT", "JSON"):
            raise ValueError(f"Invalid encoding type: {self.encoding}. Valid encoding types are: ['JSON', 'TEXT']")
        for name in self.additional_log_standard_attrs:
            if name not in STANDARD_ATTRIBUTES:
                raise ValueError(
                    f"Unknown python logging standard attribute: {name}. "
                    f"The valid attributes are: {list(STANDARD_ATTRIBUTES)}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> LoggingConfig:
        """Return what `d` says of the fields; unknown ones are left out."""
        known = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: value for name, value in d.items() if name in known})
