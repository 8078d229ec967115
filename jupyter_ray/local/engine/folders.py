"""The folders, modules and archives that a runtime environment names: copied, unpacked, and told apart.

Imported with the first environment that names one: that takes 45 ms, and few sessions have any.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from jupyter_ray.exceptions import RuntimeEnvSetupError
from jupyter_ray.local.engine.ignoring import Ignoring

_UPLOAD_LIMIT = 512 * 1024**2
_ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar.xz")
_ELSEWHERE = ("https", "s3", "gs", "gcs", "azure", "abfss")
"""Where Ray fetches archives from."""


def path_of(source: Any) -> Path:
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


def copied(path: Path, folder: Path, excludes: tuple[str, ...], single: tuple[str, ...] = ()) -> str:
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
            shutil.copytree(path, partial, symlinks=True, ignore=Ignoring(path, excludes).names)
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


def module_copied(source: Any, folder: Path, excludes: tuple[str, ...]) -> str:
    """Copy a module (a folder, a file, or the imported module itself) so that its parent can be put on the path."""
    location = getattr(source, "__file__", None)
    if location is not None:
        path = Path(location)
        source = path.parent if path.name == "__init__.py" else path
    path = path_of(source)
    copy = Path(copied(path, folder, excludes, tuple(importlib.machinery.all_suffixes())))
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
    for file in [path] if path.is_file() else Ignoring(path, excludes).files():
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
