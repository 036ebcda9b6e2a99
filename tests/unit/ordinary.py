"""Ordinary queries with a truth nobody here made: one-line descriptions and the pages they describe.

The machine's man pages where there are enough of them (NAME line -> the rest of the page), else the docstrings of
Python's standard library (first line -> the rest). Runs in CPython; reads files, no network."""

import ast
import gzip
import hashlib
import re
import sysconfig
from pathlib import Path

ENOUGH = 150  # fewer pages than this say nothing about a change of 0.01
PER_FAMILY = 4  # git-*, systemd-*, gcloud_*: one package must not be the whole corpus
BODY = 700  # characters of the page that are embedded
NO_WORDS = r"^[.'](?:\\\"|de|ds|if|ie|el|nr|tr|so|in|ti|ad|hy|nf|fi|sp|PP|TP|IP|RS|RE|Pp|It|Bl|El).*$"  # requests
ESCAPES = [
    (r"\\f(\[[A-Z]*\]|\(..|.)", ""),
    (r"\\s[-+]?\d+", ""),
    (r"\\\(..|\\\[[^]]*\]", " "),
    (r"\\-", "-"),
    (r"\\&|\\[|^/,]", ""),
    (r"\\[e~0 ]", " "),
    (r"\\\*\(..|\\\*.", ""),
    (r"\s+", " "),
]


def ordinary_pairs(limit=300, man=Path("/usr/share/man")):
    """Return (source, [(description, page text), ...]); the same pairs on the same machine, every description once."""
    for source, found in (("man pages", man_pages(man)), ("standard library docstrings", docstrings())):
        pairs = distinct(found)
        if len(pairs) >= ENOUGH:
            return source, pairs[:limit]
    raise LookupError(f"no corpus of ordinary queries: fewer than {ENOUGH} man pages and docstrings on this machine")


def distinct(found):
    """Keep at most PER_FAMILY pages a family, descriptions of 3 words to 100 letters, in the order of hashed names."""
    seen, families, pairs = set(), {}, []
    for name, line, body in sorted(found, key=lambda row: hashlib.sha256(row[0].encode()).digest()):
        family = re.split(r"[-_.:]", name)[0]
        if line.lower() in seen or body in seen or len(line) > 100 or len(line.split()) < 3 or len(body) < 200:
            continue
        if families.get(family, 0) < PER_FAMILY:
            families[family] = families.get(family, 0) + 1
            seen |= {line.lower(), body}
            pairs.append((line, body))
    return pairs


def man_pages(root):
    """Yield (name, NAME line, page text after it) of the commands in sections 1 and 8, read from their source."""
    for section in ("man1", "man8"):
        for path in sorted((root / section).glob("*.gz")) if (root / section).is_dir() else []:
            if path.name.startswith("gcloud_"):  # 16,000 generated pages of one package
                continue
            page = parse_page(gzip.decompress(path.read_bytes()).decode("utf-8", "replace"))
            if page:
                yield path.name.split(".")[0], *page


def parse_page(source):
    """Return (description, body) of a page in the man or mdoc macros, or None where it has no NAME line."""
    sections = re.split(r'^\.S[Hh]\s+"?([^"\n]*)"?.*$', source, flags=re.M)
    parts = dict(zip([s.strip().upper() for s in sections[1::2]], sections[2::2], strict=True))
    name = parts.pop("NAME", "")
    nd = re.search(r"^\.Nd (.*)$", name, flags=re.M)
    line = plain(nd.group(1)) if nd else plain(name).partition(" - ")[2]
    body = " ".join(plain(parts[key]) for key in ("DESCRIPTION", *parts) if key in parts)[:BODY]
    return (line.strip(), body) if line.strip() else None


def plain(roff):
    """Strip requests and escapes of roff: the words remain."""
    lines = [re.sub(NO_WORDS, "", row) for row in roff.splitlines()]
    text = " ".join(re.sub(r"^[.'][A-Za-z]+ ?", "", row) for row in lines)
    for pattern, to in ESCAPES:
        text = re.sub(pattern, to, text)
    return text.replace("\\", "").strip()


def docstrings():
    """Yield (module.name, first line, rest) of the docstrings in Python's standard library, from its source files."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted([*root.glob("*.py"), *root.glob("[a-z]*/*.py")]):
        if not {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages"} & set(path.parts):
            yield from file_docstrings(path)


def file_docstrings(path):
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in [tree, *[n for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))]]:
        line, _, rest = (ast.get_docstring(node) or "").partition("\n")
        yield f"{path.stem}.{getattr(node, 'name', 'zz')}", line.strip(" ."), re.sub(r"\s+", " ", rest).strip()[:BODY]
