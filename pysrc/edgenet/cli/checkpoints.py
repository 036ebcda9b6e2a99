"""The checkpoint of a training in the folder that its adapter will lie in. CPython."""

from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import AbortError, EdgeNetError, StorageError
from ..lora.checkpoint import FileStore
from .adapter_files import at_output

CHECKPOINT = "checkpoint.safetensors"


class Checkpoints(FileStore):
    """The checkpoint in the output's folder. One that cannot be kept ends no training: a notice tells, and `lost` is why."""

    def __init__(self, shell, path: Path):
        super().__init__(shell.disk, path)
        self._shell, self.lost = shell, None

    async def write(self, data: bytes) -> None:
        before, self.lost = self.lost, None
        try:
            with at_output(self.path):
                await super().write(data)
        except StorageError as error:
            self.lost = error
            if not before:
                text = "Training goes on; if it is stopped, it begins again at the last checkpoint that was kept."
                self._shell.notice({"code": error.code, "message": f"{error.message} {text}"})

    def stopped(self, step: int) -> EdgeNetError:
        """What a training that was stopped after a step ends with."""
        kept = self._disk.size(self.path)
        if self.lost:
            text = f"Stopped after step {step}; no checkpoint of it could be kept. {self.lost.message}"
            before = " --resume goes on from the last that was." if kept else ""
            return type(self.lost)(text + before, **self.lost.details)
        where = f"a checkpoint is kept in {self.path.parent}. Run the same command with --resume to go on."
        return AbortError(
            f"Stopped after step {step}; {where if kept else 'nothing was learned, and nothing is kept.'}", step=step
        )

    @contextmanager
    def kept(self):
        """Where the adapter cannot be written, whoever has a checkpoint is told what it is good for."""
        try:
            yield
        except StorageError as error:
            if not self._disk.size(self.path):
                raise
            text = f"{error.message} The same command with --resume goes on from the checkpoint there."
            raise type(error)(text, **error.details) from error

    def forget(self) -> None:
        """What it was for is done, or it would only diverge again; a folder with nothing else goes, too."""
        self._disk.remove(self.path)
        with suppress(OSError):
            self.path.parent.rmdir()
