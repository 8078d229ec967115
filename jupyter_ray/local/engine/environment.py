"""Runtime environments: ``env_vars``, ``working_dir``, ``py_modules``, merged and written as canonical JSON.

Two calls with the same text may share workers, others never do. Folders are copied into the session's folder first,
so that a change of the original does not change what runs. Source: Ray's ``runtime_env``.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.machinery
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_ray.config import guest_folder, session_folder
from jupyter_ray.environments import RUNTIME_ENV_CLUSTER, SETUP_HOOK, in_place
from jupyter_ray.exceptions import RuntimeEnvSetupError
from jupyter_ray.local.serialization import values
from jupyter_ray.local.serialization.errors import format_remote

if TYPE_CHECKING:
    from jupyter_ray.local.engine.ignoring import Ignoring

_UPLOAD_LIMIT = 512 * 1024**2
_ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar.xz")
_ELSEWHERE = ("https", "s3", "gs", "gcs", "azure", "abfss")
"""Where Ray fetches archives from."""


def encode(environment: Mapping[str, Any], folder: Path) -> str:
    """Return an environment as canonical JSON, "" if it asks for nothing.

    Parameters
    ----------
    environment
        What the user wrote, merged.
    folder
        The session's folder, which gets the copies.

    Raises
    ------
    RuntimeEnvSetupError
        A field asks for what a forked worker cannot have; a folder is too large.
    ValueError
        A folder does not exist, or is none.
    """
    _refuse(environment)
    kept: dict[str, Any] = {}
    variables = environment.get("env_vars")
    if variables:
        kept["env_vars"] = {str(name): str(value) for name, value in variables.items()}
    excludes = tuple(environment.get("excludes") or ())
    if environment.get("working_dir"):
        source = environment["working_dir"]
        kept["working_dir"] = _used_in_place(source) or _copy(_path(source), folder, excludes)
    if environment.get("py_modules"):
        kept["py_modules"] = [
            _used_in_place(each) or _module(each, folder, excludes) for each in environment["py_modules"]
        ]
    if environment.get(SETUP_HOOK):
        kept[SETUP_HOOK] = _packed(environment[SETUP_HOOK])
    return json.dumps(kept, sort_keys=True, separators=(",", ":")) if kept else ""


def folder_for(session: str, guest: str) -> Path:
    """Return the folder that gets the copies: of a driver that joined, one of its own, which goes with it."""
    return guest_folder(session, guest) if guest else session_folder(session)


def decode(text: str) -> dict[str, Any]:
    """Return what `encode` encoded."""
    decoded: dict[str, Any] = json.loads(text) if text else {}
    return decoded


def _packed(hook: Any) -> Any:
    if not callable(hook):
        return hook  # A name, or packed already: it was inherited.
    try:
        return {"pickled": base64.b64encode(values.code_dumps(hook).data).decode()}
    except Exception as error:
        raise RuntimeEnvSetupError(f"Failed to export the setup function. {error!r}") from error


def run_hook(environment: Mapping[str, Any]) -> None:
    """Call what the environment says that each of its processes calls first, if it says so.

    Raises
    ------
    RuntimeEnvSetupError
        It raised, or cannot be found or unpickled here.
    """
    hook = environment.get(SETUP_HOOK)
    if not hook:
        return
    try:
        if isinstance(hook, str):
            module, _, name = hook.rpartition(".")
            function = getattr(importlib.import_module(module), name)
        else:
            function = pickle.loads(base64.b64decode(hook["pickled"]))
        function()
    except Exception as error:
        raise RuntimeEnvSetupError(f"Failed to execute the setup hook method. {format_remote(error)}") from error


def _refuse(environment: Mapping[str, Any]) -> None:
    """Raise for the first field that this engine cannot honour: a worker is a fork of what this kernel runs on."""
    for field in RUNTIME_ENV_CLUSTER:
        if environment.get(field):
            install = f": %{field} install ..." if field in ("pip", "conda", "uv") else ""
            raise RuntimeEnvSetupError(
                f"runtime_env[{field!r}] cannot be honoured here: the workers are forked from this kernel's own "
                f"environment. Install what the tasks need into that environment{install}, or join a Ray cluster with "
                f"init(address=...), which honours {field!r}."
            )


def _used_in_place(source: Any) -> str | None:
    """Return ``local:///folder`` as it was written; None if what is named is to be copied."""
    if (path := in_place(source)) is None:
        return None
    if not os.path.isdir(path):
        raise RuntimeEnvSetupError(
            f"The runtime environment names {source}, which points to {path!r}: that must exist already, as a folder."
        )
    return str(source)


def paths(environment: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """Return the working directory, and the folders of modules, that an encoded environment has."""
    folder, modules = environment.get("working_dir"), environment.get("py_modules", ())
    return in_place(folder) or folder, [in_place(each) or each for each in modules]


def _path(source: Any) -> Path:
    """Return where a folder, or a file, is on this machine."""
    text = os.fspath(source).removeprefix("file://")
    if "://" not in text:
        return Path(os.path.abspath(os.path.expanduser(text)))
    if text.partition("://")[0] not in _ELSEWHERE:
        raise ValueError(f"The runtime environment names {text!r}, which is not an existing folder, and no address.")
    if not text.endswith((*_ARCHIVES, ".jar", ".whl")):
        raise ValueError(f"The runtime environment names {text!r}: an address must be that of a .zip file.")
    raise RuntimeEnvSetupError(
        f"The runtime environment names {text!r}: only folders and archives of this machine are taken. "
        "Fetch it first, and give its path."
    )


def _copy(path: Path, folder: Path, excludes: tuple[str, ...], single: tuple[str, ...] = ()) -> str:
    """Copy a folder, what is in an archive, or a file with one of the endings in `single`."""
    if path.is_relative_to(folder):
        return str(path)  # Copied already: it was inherited.
    if not path.exists():
        raise ValueError(f"The runtime environment names {str(path)!r}, which is not a valid path: it does not exist.")
    packed = path.is_file() and (path.name.endswith(_ARCHIVES) or zipfile.is_zipfile(path))
    if not (path.is_dir() or path.name.endswith(single) or packed):
        kinds = "a folder, a module, or an archive" if single else "a folder or an archive"
        raise ValueError(f"The runtime environment names {str(path)!r}, which is not {kinds} ({', '.join(_ARCHIVES)}).")
    copy = folder / "environments" / _fingerprint(path, excludes)
    if not copy.exists():
        partial = copy.with_name(f"{copy.name}.{os.getpid()}.part")
        partial.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if packed:
            _unpack(path, partial)
        elif path.is_dir():
            shutil.copytree(path, partial, symlinks=True, ignore=_ignoring(path, excludes).names)
            _mend_links(path, partial)
        else:
            partial.mkdir(parents=True)
            shutil.copy2(path, partial)
        try:
            partial.rename(copy)
        except OSError:  # Another process was faster.
            shutil.rmtree(partial, ignore_errors=True)
    return str(copy)


def _mend_links(source: Path, copy: Path) -> None:
    """Have the links in a folder's copy lead to what they led to in the folder, also where that was not copied."""
    for folder, folders, files in os.walk(copy):
        for link in (Path(folder, name) for name in (*folders, *files)):
            if not link.is_symlink() or os.path.isabs(target := os.readlink(link)):
                continue
            original = source / link.relative_to(copy)
            inside = os.path.relpath(os.path.normpath(original.parent / target), source)
            copied = not inside.startswith(os.pardir) and os.path.lexists(copy / inside)
            if not copied and original.exists():
                link.unlink()
                link.symlink_to(os.path.realpath(original))


def _unpack(path: Path, folder: Path) -> None:
    """Unpack an archive.

    Raises
    ------
    ValueError
        It is none, or damaged, or has files that would be outside of the folder.
    """
    import tarfile

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            return
        with tarfile.open(path) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(folder, filter="data")
            else:  # A Python that has had no update since 2023.
                tar.extractall(folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ValueError(f"The runtime environment names {str(path)!r}, which cannot be unpacked: {error}.") from error


def _ignoring(path: Path, excludes: tuple[str, ...]) -> Ignoring:
    from jupyter_ray.local.engine.ignoring import Ignoring  # It takes 45 ms, and few sessions name folders.

    return Ignoring(path, excludes)


def _module(source: Any, folder: Path, excludes: tuple[str, ...]) -> str:
    """Copy a module (a folder, a file, or the imported module itself) so that its parent can be put on the path."""
    location = getattr(source, "__file__", None)
    if location is not None:
        path = Path(location)
        source = path.parent if path.name == "__init__.py" else path
    path = _path(source)
    copy = Path(_copy(path, folder, excludes, tuple(importlib.machinery.all_suffixes())))
    if path.is_dir() and not path.is_relative_to(folder):
        parent = copy.with_name(copy.name + "-module")
        link = parent / path.name
        if not link.exists():
            parent.mkdir(exist_ok=True)
            link.symlink_to(copy)
        return str(parent)
    return str(copy)


def _fingerprint(path: Path, excludes: tuple[str, ...]) -> str:
    digest = hashlib.blake2b(os.fsencode(path), digest_size=12)
    digest.update("\0".join(excludes).encode())
    total = 0
    for file in [path] if path.is_file() else _ignoring(path, excludes).files():
        if not file.is_file():
            continue
        status = file.stat()
        total += status.st_size
        digest.update(os.fsencode(f"{file}\0{status.st_mtime_ns}\0{status.st_size}\0"))  # A name need be no text.
    if total > _UPLOAD_LIMIT:
        raise RuntimeEnvSetupError(
            f"{path} holds {total / 1024**2:.0f} MiB, more than the {_UPLOAD_LIMIT // 1024**2} MiB that a runtime "
            "environment may copy. Point to a smaller folder, or name what to leave out in excludes or in "
            "a file .gitignore or .rayignore there."
        )
    return digest.hexdigest()
