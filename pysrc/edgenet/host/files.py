"""This machine's files: writes that appear whole or not at all, locks between processes, walking folders. CPython only.

Every OSError leaves here as a named StorageError that says which file, what happened and what to do.
"""

import asyncio
import errno
import hashlib
import os
import shutil
import tempfile
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from ..errors import QuotaExceeded, StorageError, StorageUnavailable

LOCK_POLL_S = 0.05
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What "another has the lock" is called, by system
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}


def storage_error(error: OSError, path, doing: str) -> StorageError:
    """The named error for an OSError met while `doing` something ("write", "read") to `path`."""
    where, why = str(path), error.strerror or str(error)
    if error.errno in _FULL:
        return QuotaExceeded(
            f"Could not {doing} {where}: {why}. Free some space (`edge-net-models cache prune`) or choose "
            "another folder (`edge-net-models config set cache.directory PATH`).",
            path=where,
        )
    if error.errno in _REFUSED:
        return StorageUnavailable(
            f"Could not {doing} {where}: {why}. Choose a folder that you may write to.", path=where
        )
    if error.errno in _NO_LOCKS:
        return StorageUnavailable(
            f"Could not {doing} {where}: {why}. Its file system has no locks; choose a folder on another one "
            "(`edge-net-models config set cache.directory PATH`).",
            path=where,
        )
    return StorageError(f"Could not {doing} {where}: {why}.", path=where)


@contextmanager
def named(path, doing: str):
    """Turn any OSError inside the block into the StorageError of `storage_error`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, doing) from error


def sha256_of(path) -> str:
    """The SHA-256 of a file, in hex, read in pieces. Raises StorageError."""
    with named(path, "read"), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Disk:
    """File operations of the local cache. Tests subclass it to play a full or read-only disk."""

    def read(self, path: Path) -> bytes | None:
        """The file's bytes, or None if there is no such file."""
        try:
            with named(path, "read"):
                return Path(path).read_bytes()
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def write(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Replace or make a file; a reader sees the old bytes or all of the new ones. Makes missing folders."""
        with self.writing(path, mode) as put:
            put(data)

    @contextmanager
    def writing(self, path: Path, mode: int = 0o644):
        """As `write`, of a file that comes in pieces: `put(data)` inside the block. If the block fails, nothing changes."""
        path = Path(path)
        with named(path, "write"):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as out:

                def put(data):
                    with named(path, "write"):
                        self._put(out.fileno(), data)

                yield put
                with named(path, "write"):
                    os.fsync(out.fileno())
            with named(path, "write"):
                os.chmod(part, mode)
                os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise

    def write_at(self, path: Path, offset: int, data) -> None:
        """Write bytes at an offset and flush them to the device before returning."""
        with named(path, "write"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            try:
                os.lseek(handle, offset, os.SEEK_SET)
                self._put(handle, data)
                os.fsync(handle)
            finally:
                os.close(handle)

    def _put(self, handle: int, data) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]

    def rename(self, source: Path, target: Path) -> None:
        """Move within one file system, replacing a file at `target`."""
        with named(target, "write"):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)

    def remove(self, path: Path) -> None:
        """Remove a file or a whole folder; what is not there is no error."""
        with named(path, "remove"):
            if Path(path).is_dir():
                shutil.rmtree(path)
            else:
                Path(path).unlink(missing_ok=True)

    def size(self, path: Path) -> int:
        """Bytes of a file; 0 if there is none."""
        try:
            return Path(path).stat().st_size
        except OSError:
            return 0

    def free(self, path: Path) -> int:
        """Bytes free for this user where `path` lies or would lie."""
        path = Path(path).absolute()
        while not path.exists() and path != path.parent:
            path = path.parent
        with named(path, "look at"):
            return shutil.disk_usage(path).free

    def copy(self, source: Path, target: Path) -> None:
        """Copy a file so that `target` appears whole or not at all."""
        target = Path(target)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        with named(target, "write"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(source, "rb") as incoming, open(part, "wb") as out:
                    while block := incoming.read(1 << 20):
                        self._put(out.fileno(), block)
                    os.fsync(out.fileno())
                os.replace(part, target)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def probe(self, folder: Path) -> None:
        """Return if `folder` exists or can be made and a file can be written in it; raise StorageUnavailable if not. Leaves nothing."""
        folder = Path(folder)
        probe = folder / f".edge-net-{os.getpid()}.probe"
        made = [f for f in (folder, *folder.parents) if not f.exists()]
        try:
            self.write(probe, b"edgenet")
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
                for path in made:  # only where nobody put something in meanwhile
                    path.rmdir()

    @asynccontextmanager
    async def locked(self, path: Path, waiting=lambda: None):
        """Hold a lock between processes; `waiting()` is called once if another process has it. Freed when a process dies."""
        told = False
        while not (handle := _take(path)):
            if not told:
                waiting()
            told = True
            await asyncio.sleep(LOCK_POLL_S)
        with handle:
            yield

    @contextmanager
    def if_free(self, path: Path):
        """Whether nobody has the lock; if so it is held inside the block, and its file is removed with the block's end."""
        handle = _take(path)
        try:
            yield handle is not None
        finally:
            if handle:
                with suppress(OSError):  # where an open file cannot be removed, an empty one stays
                    os.unlink(path)
                handle.close()


def _take(path: Path):
    """The open file of a lock that is ours now, None if another process has it. Locking a file removed meanwhile is no lock."""
    with named(path, "lock"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, "a+b")
        try:
            held = _try_lock(handle) and _lies_at(handle, path)
        except BaseException:
            handle.close()
            raise
    if held:
        return handle
    handle.close()
    return None


def _lies_at(handle, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _try_lock(handle) -> bool:
    """Whether this process got the exclusive lock of an open file; never waits. Raises OSError where files cannot be locked."""
    try:
        if os.name == "nt":
            import msvcrt

            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            raise
        return False
    return True


def walk(path: Path):
    """The files at or below `path`, sorted, as absolute Paths; hidden names and linked folders are left out."""
    path = Path(path)
    if path.is_file():
        yield path.resolve()
        return
    for folder, folders, files in os.walk(path.resolve()):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))
