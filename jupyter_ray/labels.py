"""What a well-formed name is: of labels and the conditions on them (Ray's ``label_selector``), and of anything else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_WORD = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_VALUE = re.compile(_WORD)
_PREFIX = re.compile(rf"(?:{_WORD})?(?:\.(?:{_WORD})?)*")  # As in Ray, parts may be empty: "/name" is a name.
_CONDITION = re.compile(rf"!?(?:{_WORD}|(?:in)?\({_WORD}(?:, ?{_WORD})*\))")  # Without `in`, no value is like that.
_ALPHABET = "at most 63 letters, digits, '-', '_' and '.', with a letter or a digit at both ends"


def wrong_key(key: Any) -> str | None:
    """Return what is wrong with the name of a label, or None: ``"name"`` or ``"domain/name"``."""
    if not isinstance(key, str):
        return f"Invalid label key name {key!r}: it is a {type(key).__name__}, and must be text."
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= 253 and _PREFIX.fullmatch(prefix)):
        return f"Invalid label key prefix {prefix!r} in {key!r}: before the '/' stands a domain, as in 'ray.io/zone'."
    if not _VALUE.fullmatch(name):
        return f"Invalid label key name {name!r}: it has {_ALPHABET}."
    return None


def wrong_value(value: Any) -> str | None:
    """Return what is wrong with the value of a label, or None. It may be empty."""
    if isinstance(value, str) and (not value or _VALUE.fullmatch(value)):
        return None
    return f"Invalid label key value {value!r}: it is text of {_ALPHABET}."


def wrong_selector(name: str, selector: Any) -> str | None:
    """Return what is wrong with a selector, or None: it maps names to ``"a"``, ``"!a"``, ``"in(a, b)"``, ``"!in(a)"``.

    Source: Ray's ``label_selector``.
    """
    for key, condition in (selector or {}).items():
        if wrong := wrong_key(key):
            return f"{name}: {wrong}"
        if condition and not (isinstance(condition, str) and _CONDITION.fullmatch(condition)):
            return (
                f"{name}: Invalid label selector value {condition!r} for {key!r}: write 'a', '!a', 'in(a, b)' or "
                f"'!in(a, b)', where a value has {_ALPHABET}."
            )
    return None


def matches(selector: Mapping[str, str | None] | None, labels: Mapping[str, str]) -> bool:
    """Return whether a machine with these labels meets all conditions of a well-formed selector.

    A label that the machine does not have is no value: it meets ``"!a"`` and ``"!in(a, b)"`` alone, as in Ray.
    """
    for key, condition in (selector or {}).items():
        text = (condition or "").removeprefix("!")
        listed = text.startswith("in(") and text.endswith(")")
        values = [value.strip() for value in text[3:-1].split(",")] if listed else [text]
        if (labels.get(key) in values) is (condition or "").startswith("!"):
            return False
    return True


def wrong_fallback(name: str, strategies: Any) -> str | None:
    """Return what is wrong with a list of alternatives, each a dict with a ``label_selector``, or None."""
    for each in strategies or ():
        if not isinstance(each, dict):
            return f"Each element of `{name}` must be a dictionary, got {each!r}."
        if not each:
            return f"Empty dictionary found in `{name}`."
        if unknown := [option for option in each if option != "label_selector"]:
            return f"{name}: Unsupported option found: {unknown[0]!r}. Only 'label_selector' may stand there."
        if not isinstance(each["label_selector"], dict | None):
            return f"{name}: the value of 'label_selector' must be a dictionary, got {each['label_selector']!r}."
        if wrong := wrong_selector(name, each["label_selector"]):
            return wrong
    return None


def unwritable(name: str, value: str | None) -> str | None:
    """Return what is wrong with a text that no message can carry: one with half a surrogate pair."""
    if value is None or value.isascii():
        return None
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"The keyword '{name}' is not valid Unicode, {error.reason}: {value!r}."
    return None
