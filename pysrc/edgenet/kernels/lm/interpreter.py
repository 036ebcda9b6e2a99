"""What a host knows of the interpreter, wasm/lm/interpreter.h; how arrays lie beside each other. Imports no NumPy; runs anywhere."""

CONTROL_BYTES = 256  # the words that steer a run
SLOTS_AT = 192  # byte of the slots' sizes in them
END = 0xFFFFFFFF  # the word behind the last record
ALIGN = 64  # a cache line: threads never write into one line from two arrays


def align(size: int) -> int:
    """The next multiple of 64."""
    return -(-size // ALIGN) * ALIGN
