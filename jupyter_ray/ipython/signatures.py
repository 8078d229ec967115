"""What Shift+Tab, ``?`` and ``??`` show of a remote function or class, and which keywords Tab offers: the user's own.

``remote`` takes whatever its function takes, so its own signature tells nothing, and its source even less.
``%load_ext`` imports this module and must be quick, so it imports nothing of this package.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

_WIDTH = 75
"""A longer signature is shown a parameter a line, as IPython does."""


def install(shell: Any) -> Callable[[], None]:
    """Have the shell's inspector and completer look through ``remote``; return the undo."""
    inspector, completer = shell.inspector, shell.Completer
    info = inspector.info

    def info_of_what_is_called(obj: Any, oname: str = "", *args: Any, **kwargs: Any) -> Any:
        told = info(obj, oname, *args, **kwargs)
        called = _called(obj)
        if called is None:
            return told
        signature, value = called
        told["definition"] = _rendered(oname if inspect.ismethod(obj) else f"{oname}.remote", signature)
        own = dict.fromkeys(("file", "source")) if value is None else info(value, oname, *args, **kwargs)
        told.update(file=own["file"], source=own["source"], call_def=None, call_docstring=None, class_docstring=None)
        if value is not None and (own["source"] or inspect.getdoc(value)):
            told["docstring"] = own["docstring"]
        return told

    def keywords_of_what_is_called(obj: Any) -> list[str]:
        called = _called(obj) if inspect.ismethod(obj) else None
        kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [] if called is None else [each.name for each in called[0].parameters.values() if each.kind in kinds]

    @context_matcher()  # type: ignore[untyped-decorator]
    def jupyter_ray_keywords(context: Any) -> Any:
        completer._default_arguments = keywords_of_what_is_called
        try:
            offered = completer.python_func_kw_matches(context.token)
        finally:
            del completer._default_arguments
        return {"completions": [SimpleCompletion(each, type="param") for each in offered]}

    matchers = completer.custom_matchers
    matchers.append(jupyter_ray_keywords)
    inspector.info = info_of_what_is_called

    def undo() -> None:
        if jupyter_ray_keywords in matchers:
            matchers.remove(jupyter_ray_keywords)
        if vars(inspector).get("info") is info_of_what_is_called:
            del inspector.info

    return undo


def _called(obj: Any) -> tuple[inspect.Signature, Any] | None:
    """Return signature and code of what is called by `obj`, or by its ``remote``; None for anything else.

    The code is None for a method of an actor, which is known elsewhere.
    """
    is_remote = inspect.ismethod(obj) and obj.__name__ == "remote"
    owner = obj.__self__ if is_remote else obj
    if not type(owner).__module__.startswith("jupyter_ray.api."):
        return None
    from jupyter_ray.api.actors import ActorClass
    from jupyter_ray.api.handles import ActorMethod
    from jupyter_ray.api.remote import RemoteFunction

    if isinstance(owner, RemoteFunction | ActorClass):
        value: Any = owner._definition.value
        signature = owner._parameters.shown(value)
    elif isinstance(owner, ActorMethod):
        value, signature = None, owner._method.parameters.shown()
    else:
        return None
    return None if signature is None else (signature, value)


def _rendered(name: str, signature: inspect.Signature) -> str:
    whole = f"{name}{signature}"
    if len(whole) > _WIDTH:
        lines: list[str] = []
        for each in signature.parameters.values():
            if each.kind is each.KEYWORD_ONLY and not any(line.startswith("*") for line in lines):
                lines.append("*")
            lines.append(str(each))
        whole = f"{name}(\n" + "".join(f"    {line},\n" for line in lines) + ")"
    return whole.replace("=Ellipsis", "=...")  # There is a default, which is known where the class is.
