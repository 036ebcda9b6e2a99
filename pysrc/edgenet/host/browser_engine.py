"""The engine module in the browser's own WebAssembly, called from Python. Pyodide only. Twin of `wasmtime_engine.WasmtimeEngine`.

There is no deadline here: a browser cannot stop a call from inside. The worker that holds this Python is what gets ended.
"""

from typing import Any

import js
import numpy as np
from pyodide.ffi import JsException, to_js

from ..errors import (
    AllocationFailed,
    InitializationFailed,
    InvalidPack,
    KernelNotFound,
    KernelTrap,
    MemoryAccessViolation,
    Unreachable,
)
from ..kernels.args import plan
from ..kernels.codes import raise_for_code
from ..kernels.ops import DTYPES, Outcome, kernel

PAGE = 65536
# What engines say when WebAssembly traps; they give no code for it (Chromium's words, then Firefox's).
TRAPS = (
    (("memory access out of bounds", "index out of bounds"), MemoryAccessViolation),
    (("unreachable",), Unreachable),
)


class BrowserEngine:
    """`call` and `run` as those of NumpyEngine; inputs and outputs are copied. `pages` limits its memory, 64 KiB each."""

    name = "browser"

    def __init__(self, data: bytes, pages: int = 1024):
        try:
            self._module = js.WebAssembly.Module.new(to_js(data))
        except JsException as error:
            raise InvalidPack(
                f"A kernel module of {len(data)} bytes could not be compiled: {error.message}."
            ) from error
        self._pages = pages
        self._fresh()

    def _fresh(self) -> None:
        try:
            self._exports = js.WebAssembly.Instance.new(self._module, js.Object.new()).exports
        except JsException as error:
            raise InitializationFailed(f"The engine module could not be instantiated: {error.message}.") from error

    def call(self, name: str, /, **values: Any) -> Outcome:
        """(return code, outputs as new arrays). Raises KernelNotFound, ShapeMismatch, InvalidParameters, AllocationFailed
        or a trap's error.
        """
        row = kernel(name)
        # by getattr: inside a class Python would rewrite the leading underscores
        at = plan(row, values, getattr(self._exports, "__heap_base").value)
        self._reserve(at.end)
        self._write(at.block_at, at.block)
        for array in at.arrays:
            self._write(array.offset, array.data if array.data is not None else bytes(array.size))
        code = self._invoke(name, at.block_at)
        wanted = [a for a in at.arrays if a.arg.kind in ("out", "inout")]
        return code, {a.arg.name: self._read(a.offset, a.size, DTYPES[a.arg.dtype]).reshape(a.shape) for a in wanted}

    def run(self, name: str, /, **values: Any) -> dict[str, np.ndarray]:
        """As `call`, but a return code other than OK raises KernelTrap."""
        code, outputs = self.call(name, **values)
        raise_for_code(code, name)
        return outputs

    def _invoke(self, name: str, block_at: int) -> int:
        function = getattr(self._exports, name, None)
        if function is None:
            raise KernelNotFound(f'The engine module exports no function "{name}".', kernel=name)
        try:
            return function(block_at, 0, 1)
        except JsException as error:
            self._fresh()  # an instance that trapped is thrown away
            kind = next((k for words, k in TRAPS if any(w in str(error.message) for w in words)), KernelTrap)
            raise kind(
                f'The kernel "{name}" was stopped ({error.message}). The next call starts afresh.', kernel=name
            ) from error

    def _reserve(self, end: int) -> None:
        memory = self._exports.memory
        missing = -(-(end - memory.buffer.byteLength) // PAGE)
        if missing <= 0:
            return
        if memory.buffer.byteLength // PAGE + missing > self._pages:
            why = f"The engine module needs {end} bytes, more than its limit. Use smaller inputs or raise `pages`."
            raise AllocationFailed(why, bytes=end)
        memory.grow(missing)

    def _write(self, offset: int, data: bytes) -> None:
        if data:
            js.Uint8Array.new(self._exports.memory.buffer, offset, len(data)).assign(data)

    def _read(self, offset: int, size: int, dtype: Any) -> np.ndarray:
        return np.frombuffer(js.Uint8Array.new(self._exports.memory.buffer, offset, size).to_bytes(), dtype).copy()
