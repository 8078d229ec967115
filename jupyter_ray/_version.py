"""The version, in one place."""

__version__ = "0.1.0"

RAY_VERSION = "2.60.0"
"""The version of Ray whose programming model this is: what a library that asks for ``ray.__version__`` is told."""

version, commit = RAY_VERSION, ""
"""What programs take from ``ray._version``. There is no commit of Ray's here."""
