"""The pepper: the secret of this installation that API keys are hashed with, so that what Redis holds opens nothing.

It is the setting LOOPWRIGHT_PEPPER, or a file in the data folder that is made when the first key is. A file appears
complete or not at all: it is written under another name and linked into place, so of several processes that make it
at once one wins, and all of them read the winner's.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..errors import SettingsInvalid

if TYPE_CHECKING:
    from ..settings import Settings

FILE = "pepper"
MIN_CHARACTERS = 16
"""Shortest pepper that is taken; what is made here has 64 characters (256 random bits in hexadecimal)."""

_SETTING = "LOOPWRIGHT_PEPPER"


class Pepper:
    """The pepper, looked for at first use and then remembered.

    Args:
        given: What the setting holds; `None`: the file is used.
        data_dir: Folder of the file.
    """

    def __init__(self, given: str | None, data_dir: str | os.PathLike[str]) -> None:
        self._given = given
        self._path = Path(data_dir) / FILE
        self._value: bytes | None = None

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """Return the pepper that the settings name."""
        return cls(settings.pepper.get_secret_value() if settings.pepper else None, settings.data_dir)

    @property
    def source(self) -> str:
        """Where it is looked for, in words; no path, because callers of the API may read it."""
        return "this host's LOOPWRIGHT_PEPPER" if self._given is not None else "this host's data folder"

    def find(self) -> bytes | None:
        """Return the pepper; `None` when there is none yet.

        Raises:
            SettingsInvalid: It is too short, or others may read its file.
        """
        if self._value is None:
            text = self._given if self._given is not None else self._read()
            if text is None:
                return None
            if len(text) < MIN_CHARACTERS:
                raise SettingsInvalid(_SETTING, f"a pepper has at least {MIN_CHARACTERS} characters")
            self._value = text.encode()
        return self._value

    def find_or_make(self) -> bytes:
        """Return the pepper, made now when there is none.

        Raises:
            SettingsInvalid: As `find`; or the folder cannot be written to.
        """
        found = self.find()
        if found is not None:
            return found
        try:
            self._make()
        except OSError as exc:
            problem = f"is not set, and {self._path} cannot be made: {exc.strerror}"
            raise SettingsInvalid(_SETTING, problem) from exc
        return self.find() or b""

    def _read(self) -> str | None:
        try:
            with open(self._path, encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(1 << 12)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsInvalid(_SETTING, f"is not set, and {self._path} cannot be read: {exc}") from exc
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SettingsInvalid(_SETTING, f"others may read {self._path}: chmod 600 it, or make new keys if they did")
        return text.strip()

    def _make(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another process was first: its pepper is the pepper
                os.link(draft, self._path)
        finally:
            os.unlink(draft)
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
