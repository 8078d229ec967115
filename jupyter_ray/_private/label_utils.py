"""Ray's ``ray._private.label_utils``: labels of a machine and conditions on them, read and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jupyter_ray import labels as _labels
from jupyter_ray._private.ray_constants import RAY_DEFAULT_LABEL_KEYS_PREFIX as _RESERVED


def parse_node_labels_json(labels_json: str) -> dict[str, str]:
    """Return the labels of an object in JSON; raise a ValueError if it is none, or has others than text."""
    found = _texts(json.loads(labels_json))
    validate_node_labels(found)
    return found


def parse_node_labels_string(labels_str: str) -> dict[str, str]:
    """Return the labels of ``"name=value,name=value"``; raise a ValueError for what is malformed."""
    found: dict[str, str] = {}
    if len(labels_str) > 1 and labels_str[0] == labels_str[-1] == '"':
        labels_str = labels_str[1:-1]
    for each in labels_str.split(",") if labels_str else ():
        pair = [part.strip() for part in each.split("=")]
        if len(pair) != 2:
            raise ValueError(f"{each!r} is not a label: write name=value, with commas between several.")
        found[pair[0]] = pair[1]
    validate_node_label_syntax(found)
    return found


def parse_node_labels_from_yaml_file(path: str) -> dict[str, str]:
    """Return the labels of a file in YAML, which needs PyYAML; none for an empty path."""
    if not path:
        return {}
    import yaml  # type: ignore[import-untyped]

    found = _texts(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    validate_node_label_syntax(found)
    return found


def _texts(found: Any) -> dict[str, str]:
    if not isinstance(found, dict):
        raise ValueError("Labels are pairs of a name and a value.")
    for key, value in found.items():
        if not isinstance(value, str):
            raise ValueError(f"The value of the label {key!r} is not text: {value!r}.")
    return found


def validate_node_labels(labels: dict[str, str]) -> None:
    """Raise a ValueError if a label's name is one of those that a session gives itself: ``ray.io/...``."""
    for key in labels or ():
        if key.startswith(_RESERVED):
            raise ValueError(f"The label {key!r} cannot be given: names that begin with {_RESERVED!r} are reserved.")


def validate_node_label_syntax(labels: dict[str, str]) -> None:
    """Raise a ValueError if a name or a value of a label is malformed."""
    for key, value in labels.items():
        if wrong := validate_label_key(key):
            raise ValueError(wrong)
        validate_label_value(value)


def validate_label_key(key: str) -> str | None:
    """Return what is wrong with the name of a label, or None."""
    return _labels.wrong_key(key)


def validate_label_value(value: str) -> None:
    """Raise a ValueError if the value of a label is malformed."""
    if wrong := _labels.wrong_value(value):
        raise ValueError(wrong)


def validate_label_selector(label_selector: dict[str, str] | None) -> str | None:
    """Return what is wrong with conditions on labels, or None."""
    return _labels.wrong_selector("label_selector", label_selector)


def validate_label_selector_value(selector: str) -> str | None:
    """Return what is wrong with one condition, or None: ``"a"``, ``"!a"``, ``"in(a, b)"`` or ``"!in(a, b)"``."""
    return _labels.wrong_selector("label_selector", {"label": selector})


def validate_fallback_strategy(fallback_strategy: list[dict[str, Any]] | None) -> str | None:
    """Return what is wrong with a list of alternatives, or None."""
    return _labels.wrong_fallback("fallback_strategy", fallback_strategy)
