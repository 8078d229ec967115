"""What a name that is not there may have been meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def meant(name: str, valid: Iterable[str]) -> str:
    """Return a sentence that names the valid name nearest to `name`, with a space before it, or ``""``."""
    if name.startswith("_"):  # Asked for by Python and by displays, not by a user.
        return ""
    import difflib

    near = difflib.get_close_matches(name, [one for one in valid if one != name], 1)
    return f" Did you mean {near[0]!r}?" if near else ""


def no_option(name: str, valid: Iterable[str], where: str = "") -> str:
    """Return the message for an option that is not one of the `valid` ones."""
    return f"Invalid option keyword {name}{where}.{meant_option(name, valid)}"


def meant_option(name: str, valid: Iterable[str]) -> str:
    """Return what follows the name of an option that is not one of the `valid` ones: those, and the nearest."""
    return f"{meant(name, valid)} Valid ones are {list(valid)}."
