"""What Tab offers after ``%ray`` and ``%%remote``: commands and options, and nothing else then.

``%load_ext`` imports this module and must be quick, so it imports nothing of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

if TYPE_CHECKING:
    from jupyter_ray.ipython.commands import Commands

_MAGICS = frozenset({"%ray", "%remote", "%%remote"})


def install(shell: Any, commands: Callable[[], Commands]) -> Callable[[], None]:
    """Have IPython ask for what may follow the magics' names; return the undo.

    Parameters
    ----------
    shell
        The IPython shell.
    commands
        Returns what the magics do, once it is loaded.
    """

    @context_matcher()  # type: ignore[untyped-decorator]
    def jupyter_ray_magics(context: Any) -> Any:
        begun = context.token
        before = context.text_until_cursor[: len(context.text_until_cursor) - len(begun)].split()
        offered = commands().offered(before, begun) if before and before[0] in _MAGICS else []
        return {
            "completions": [SimpleCompletion(each, type="magic") for each in offered],
            "suppress": True,
            "ordered": True,
        }

    matchers = shell.Completer.custom_matchers
    matchers.append(jupyter_ray_magics)

    def undo() -> None:
        if jupyter_ray_magics in matchers:
            matchers.remove(jupyter_ray_magics)

    return undo
