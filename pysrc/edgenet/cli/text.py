"""Text for people: tables, sizes, counts. Pure."""

_CONTROLS = {c: f"\\x{c:02x}" for c in (*range(0x20), *range(0x7F, 0xA0)) if chr(c) not in "\t\n"}


def printable(text: str) -> str:
    """The text with control characters spelled out: names out of files and answers of models must not steer a terminal."""
    return text.translate(_CONTROLS)


def table(rows: list[dict], columns: dict[str, str]) -> str:
    """Aligned text of rows; `columns` is field → heading. Numbers stand right."""
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    right = [bool(rows) and all(type(row.get(name)) in (int, float) for row in rows) for name in columns]
    lines = [list(columns.values()), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if r else text.ljust(width) for text, width, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value) -> str:
    words = {None: "", True: "yes", False: "no"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def megabytes(count: int) -> str:
    """Bytes as people read them."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def counted(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
