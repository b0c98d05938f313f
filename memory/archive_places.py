"""Where archived runs lie: a folder of this machine, or whatever fsspec knows (S3, GCS, WebDAV and so on)."""

import contextlib
import importlib
import os
import secrets
import time
from pathlib import Path
from typing import Any, Protocol

from ..errors import SettingsInvalid

_STALE_S = 3600.0
"""Age in seconds at which an unfinished file was surely left by a process that died."""

_PART = ".part"


class Place(Protocol):
    """Files by name; names have `/` between their parts. Everything blocks."""

    def put(self, name: str, data: bytes) -> None:
        """Store a file, whole or not at all, and for good when this returns."""
        ...

    def get(self, name: str) -> bytes | None:
        """Return a file, or `None`."""
        ...

    def folders(self) -> list[str]:
        """Return the names of the uppermost folders."""
        ...


def place_of(url: str) -> Place:
    """Return the place that a path or a URL names.

    Raises:
        SettingsInvalid: fsspec knows no such protocol, or lacks the package for it.
    """
    if "://" not in url or url.startswith(("file://", "local://")):
        return Folder(Path(url.partition("://")[2] or url))
    try:
        system, root = importlib.import_module("fsspec.core").url_to_fs(url)
    except (ValueError, ImportError) as exc:
        raise SettingsInvalid("archive", f"{url.partition('://')[0]}:// cannot be used: {exc}") from exc
    return Remote(system, root)


class Folder:
    """A folder of this machine. What `put` stored outlives a power cut."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: set[Path] = set()

    def put(self, name: str, data: bytes) -> None:
        """Write under another name, force it to the disk, then rename."""
        path = self._root / name
        self._make(path.parent)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_PART}")
        try:
            with open(draft, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        _sync(path.parent)

    def get(self, name: str) -> bytes | None:
        """Return a file, or `None`."""
        try:
            return (self._root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def folders(self) -> list[str]:
        """Return the names of the uppermost folders."""
        try:
            return [each.name for each in os.scandir(self._root) if each.is_dir()]
        except FileNotFoundError:
            return []

    def _make(self, folder: Path) -> None:
        """Make a folder that lasts; at first sight, clear what processes that died left in it."""
        if folder in self._known and folder.is_dir():
            return
        for each in [*reversed(folder.parents), folder]:
            with contextlib.suppress(FileExistsError):
                each.mkdir()
                _sync(each.parent)
        limit = time.time() - _STALE_S
        for left in folder.glob(f"*{_PART}"):
            with contextlib.suppress(OSError):
                if left.stat().st_mtime < limit:
                    left.unlink()
        self._known.add(folder)


class Remote:
    """A file system of fsspec. An object store shows an object once it is complete: it is there whole or not at all."""

    def __init__(self, system: Any, root: str) -> None:
        self._system = system
        self._root = root.rstrip("/")

    def put(self, name: str, data: bytes) -> None:
        """Store a file."""
        path = f"{self._root}/{name}"
        self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._system.pipe_file(path, data)

    def get(self, name: str) -> bytes | None:
        """Return a file, or `None`."""
        try:
            data = self._system.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return bytes(data)

    def folders(self) -> list[str]:
        """Return the names of the uppermost folders, as they are now and not as fsspec remembers them."""
        self._system.invalidate_cache()
        try:
            found = self._system.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        return [each["name"].rstrip("/").rpartition("/")[2] for each in found if each["type"] == "directory"]


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
