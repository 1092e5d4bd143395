"""One engine per data directory: two would copy every order twice."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from ..errors import AlreadyRunning, ConfigError

LOCK_FILE = "engine.lock"


class DataDirLock:
    """Holds ``engine.lock`` in *data_dir* from entering to leaving; the file holds the holder's process id.

    The lock is the kernel's (flock), not the file's existence: it ends with the process however that ends, so a
    left-over file means nothing. The file is never deleted, else a third engine could lock a new file of that
    name while the second still waits for the old one.
    """

    def __init__(self, data_dir: Path | str) -> None:
        self._path = Path(data_dir) / LOCK_FILE
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or say who has it; never waits.

        :raises AlreadyRunning: an engine works in this directory; the message carries its process id.
        :raises ConfigError: the directory is not there or cannot be locked.
        """
        if self._descriptor is not None:
            raise AlreadyRunning(f"this engine already holds {self._path.parent}")
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise ConfigError(f"DATA_DIR {str(self._path.parent)!r} is not there; run `copytrade init`") from None
        except OSError as error:
            raise self._unusable(error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise AlreadyRunning(
                f"another engine (process {holder}) works in {self._path.parent}; stop it first, then try again"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise self._unusable(error) from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; without effect where nothing is held."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def __enter__(self) -> DataDirLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def _unusable(self, error: OSError) -> ConfigError:
        return ConfigError(f"DATA_DIR {str(self._path.parent)!r} cannot be locked: {error.strerror}")
