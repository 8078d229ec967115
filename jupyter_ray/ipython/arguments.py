"""The options of the magics: argparse, with errors of one line and with help that prints."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from IPython.core.error import UsageError

_TOKEN = re.compile(r"\s*((?:\"[^\"]*\"|'[^']*'|[^\s\"'])+)")


class HelpPrinted(Exception):
    """The user asked for help and got it."""


class Parser(argparse.ArgumentParser):
    """Options of one magic.

    Parameters
    ----------
    prog
        How the magic is called.
    description
        What it does.
    epilog
        What the help says last.
    usage
        The help's first line; None: it follows from the options.
    """

    def __init__(self, prog: str, description: str, epilog: str = "", usage: str | None = None) -> None:
        super().__init__(
            prog,
            usage,
            description=description,
            epilog=epilog or None,
            add_help=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("-h", "--help", action="store_true", help="show this and do nothing")

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError, which IPython shows in one line."""
        raise UsageError(f"{self.prog}: {message}. See {self.prog} --help.")

    def read(self, tokens: Sequence[str]) -> argparse.Namespace:
        """Return the options.

        Raises
        ------
        HelpPrinted
            Help was asked for, and has been printed.
        UsageError
            Something is wrong; one line says what.
        """
        if any(token in ("-h", "--help") for token in tokens):
            print(self.format_help())
            raise HelpPrinted
        return self.parse_args(list(tokens))

    def options(self) -> list[str]:
        """Return the names of the options, the long ones."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def split(self, line: str) -> tuple[list[str], str]:
        """Return the options at the beginning of a line, and the rest as it is written. ``--`` ends the options."""
        tokens: list[str] = []
        at = 0
        while found := _TOKEN.match(line, at):
            token = found.group(1)
            if token == "--":
                at = found.end()
                break
            if not token.startswith("-") or len(token) == 1:
                break
            tokens.append(_unquoted(token))
            at = found.end()
            if "=" not in token and self._takes_value(token) and (value := _TOKEN.match(line, at)):
                tokens.append(_unquoted(value.group(1)))
                at = value.end()
        return tokens, line[at:].strip()

    def _takes_value(self, token: str) -> bool:
        names = [name for name in self._option_string_actions if name == token or name.startswith(token)]
        return any(self._option_string_actions[name].nargs != 0 for name in names)


def words(line: str) -> list[str]:
    """Split a line as a shell would.

    Raises
    ------
    UsageError
        A quotation mark has no partner.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"cannot read `{line.strip()}`: {str(error).lower()}.") from None


def amount(text: str) -> float:
    """Return an amount of a resource: what ``--num-cpus`` takes."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount: write a number, 0 or more")
    return int(value) if value.is_integer() else value


def positive(text: str) -> int:
    """Return a count, 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a count: write a number, 1 or more")
    return int(text)


def _unquoted(token: str) -> str:
    parts = words(token)
    return parts[0] if parts else ""


def given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return those of the named options that were given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}
