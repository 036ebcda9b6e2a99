"""A good manifest, and edits of it with the verdict that each must get. Read by `make_trust_vectors.py`."""

from edgenet.integrity import describe

from .trust_vectors import content

HEX = "0" * 64
MODEL, SOURCE = ["artifacts", "model"], ["sources", 0]
BAD_NAMES = [
    "../model.onnx",
    "a/../b",
    "/model.onnx",
    "a//b",
    "./a",
    "a/",
    "..",
    ".",
    "a\\b",
    "C:model.onnx",
    "https://evil.example/x",
    "%2e%2e/x",
    ".hidden",
    "a/.git",
    "nul\u0000l",
    "a b",
    "x.",
    "é",
    "a\n",
]
BAD_URLS = [
    "../",
    "a/../b/",
    "./../",
    "/../",
    "//evil.example/",
    "javascript:alert(1)/",
    "file:///etc/",
    "a",
    "https://host",
    "https://h/../",
    "https://h/%2e%2e/",
    "https://u:p@h/",
    "https://h/?q=/",
    "a\\b/",
    "./.",
]
WRONG = [
    (["id"], "Upper"),
    (["id"], "a..b"),
    (["id"], ""),
    (["id"], 7),
    (["version"], "1/0"),
    (["version"], "../1"),
    (["name"], ""),
    (["sources"], {}),
    (["sources"], [1]),
    (["artifacts"], {}),
    (["artifacts"], []),
    (["artifacts", "bad name"], {}),
    (["artifacts", "model"], None),
    ([*MODEL, "size"], "2500"),
    ([*MODEL, "size"], 2500.5),
    ([*MODEL, "size"], True),
    ([*MODEL, "size"], 0),
    ([*MODEL, "size"], -1),
    ([*MODEL, "sha256"], "A" * 64),
    ([*MODEL, "sha256"], HEX[1:]),
    ([*MODEL, "chunkSize"], 1000),
    ([*MODEL, "chunkSize"], 1 << 25),
    ([*MODEL, "cid"], "Qm"),
    ([*MODEL, "leaves"], [1]),
    ([*MODEL, "leaves"], []),
    ([*SOURCE, "priority"], -1),
    ([*SOURCE, "type"], ""),
    (["architecture"], []),
    (["architecture", "layers"], 0),
    (["requirements", "minMemory"], "1GB"),
    (["requirements", "simdRequired"], 1),
    (["expiresAt"], "tomorrow"),
    (["expiresAt"], "2026-01-01T00:00:00+01:00"),
    (["expiresAt"], "2026-01-01T24:00:00Z"),
    (["license"], None),
]


def good_manifest() -> dict:
    model, _ = describe([content("counter", 2500)], "model.onnx", 1024)
    tokenizer, _ = describe([content("counter", 100)], "tokenizer/tokenizer.json", 1024)
    return {
        "schemaVersion": 1,
        "id": "minilm-l6-v2-q8",
        "name": "MiniLM é 😀",
        "version": "1.0.0",
        "type": "embedding",
        "family": "bert",
        "architecture": {
            "type": "transformer",
            "layers": 6,
            "hiddenSize": 384,
            "vocabSize": 30522,
            "contextLength": 256,
        },
        "optimization": {"quantization": "INT8", "format": "blockwise", "originalSize": 9000, "optimizedSize": 2500},
        "artifacts": {"model": model, "tokenizer": tokenizer},
        "sources": [
            {"type": "cdn", "priority": 1, "baseUrl": "./"},
            {"type": "ipfs", "priority": 3, "gateways": ["https://gateway.example/ipfs/"]},
        ],
        "requirements": {"minMemory": 100000000, "minStorage": 2600, "simdRequired": True, "webgpuOptional": True},
        "benchmarks": {"worstCosine": 0.9951},
        "license": "Apache-2.0",
        "homepage": "https://model.example/",
        "publishedAt": "2026-03-01T12:00:00Z",
        "publishedBy": "EdgeNet tests",
        "x-unknown": {"kept": [1, 2.5, None]},
    }


def row(why, *edits, code=None, schema=None):
    """`schema` says what the JSON Schema must answer; where absent, the same as the parser."""
    return {"why": why, "edits": list(edits), "code": code} | ({} if schema is None else {"schema": schema})


def path_rows():
    good_urls = ["./", "/models/", "blobs/v1/", "https://cdn.example/m/1.0/", "http://localhost:8000/", "/"]
    yield from (row(f"file name {name!r}", [[*MODEL, "filename"], name], code="unsafe_path") for name in BAD_NAMES)
    yield from (row(f"base URL {url!r}", [[*SOURCE, "baseUrl"], url], code="unsafe_path") for url in BAD_URLS)
    yield from (row(f"base URL {url!r} is fine", [[*SOURCE, "baseUrl"], url]) for url in good_urls)
    yield row(
        "two files of one name", [["artifacts", "tokenizer", "filename"], "MODEL.onnx"], code="unsafe_path", schema=True
    )
    yield row(
        "a file named like the manifest", [[*MODEL, "filename"], "manifest.json"], code="unsafe_path", schema=True
    )
    yield row("a gateway without scheme", [["sources", 1, "gateways"], ["ipfs.io/ipfs/"]], code="unsafe_path")


def schema_rows():
    for name in ("id", "name", "version", "type", "artifacts", "sources"):
        yield row(f"{name} is missing", [[name]], code="manifest_schema")
    for value in (None, True, "1", 1.5, -1):
        yield row(f"schemaVersion {value!r}", [["schemaVersion"], value], code="manifest_schema")
    for value in (0, 2, 99):
        yield row(f"schemaVersion {value}", [["schemaVersion"], value], code="schema_version_unsupported")
    yield from (
        row(f"{'.'.join(map(str, path))} = {str(value)[:12]!r}", [path, value], code="manifest_schema")
        for path, value in WRONG
    )
    yield row("30 February", [["publishedAt"], "2026-02-30T00:00:00Z"], code="manifest_schema", schema=True)
    yield row("a cdn without baseUrl", [[*SOURCE, "baseUrl"]], code="manifest_schema")
    yield row("ipfs without gateways", [["sources", 1, "gateways"]], code="manifest_schema")
    yield row("no leaves at all", [[*MODEL, "leaves"]], code="manifest_schema")
    yield row("leaves and leavesFile", [[*MODEL, "leavesFile"], leaves_file(3)], code="manifest_schema")
    yield row("a signature that is text", [["signature"], "MEUCIQDx"], code="manifest_schema")
    yield row("unknown fields are kept", [["future"], {"a": [1]}], [[*MODEL, "future"], 1])
    yield row("an unknown kind of source is kept", [["sources"], [{"type": "carrier-pigeon"}]])
    yield row("no sources: a local file", [["sources"], []])


def leaves_file(count):
    return {"filename": "model.leaves", "size": 32 * count, "sha256": HEX}


def size_rows():
    yield row("one leaf too few", [[*MODEL, "size"], 3073], code="sizes_disagree", schema=True)
    yield row("one leaf too many", [[*MODEL, "size"], 2048], [["optimization"]], code="sizes_disagree", schema=True)
    yield row("another optimizedSize", [["optimization", "optimizedSize"], 2501], code="sizes_disagree", schema=True)
    yield row("leaves do not add up", [[*MODEL, "merkleRoot"], HEX], code="leaves_disagree", schema=True)
    yield row("a leaf swapped", [[*MODEL, "leaves", 0], HEX], code="leaves_disagree", schema=True)
    yield row("a leaves file", [[*MODEL, "leaves"]], [[*MODEL, "leavesFile"], leaves_file(3)])
    yield row(
        "a leaves file of the wrong size",
        [[*MODEL, "leaves"]],
        [[*MODEL, "leavesFile"], leaves_file(4)],
        code="sizes_disagree",
        schema=True,
    )
    yield row(
        "a leaves file above",
        [[*MODEL, "leaves"]],
        [[*MODEL, "leavesFile"], leaves_file(3)],
        [[*MODEL, "leavesFile", "filename"], "../x"],
        code="unsafe_path",
    )


def text_rows():
    """Documents as text, where an edit of a good manifest cannot say it."""
    texts = [
        ("empty", "", "manifest_not_json"),
        ("not JSON", "{", "manifest_not_json"),
        ("NaN", '{"a":NaN}', "manifest_not_json"),
        ("an array", "[]", "manifest_not_json"),
        ("a number", "1", "manifest_not_json"),
        ("null", "null", "manifest_not_json"),
        ("a byte order mark", "\ufeff{}", "manifest_not_json"),
        ("trailing text", "{} x", "manifest_not_json"),
        ("an empty object", "{}", "manifest_schema"),
        ("an infinite number", '{"a":1e999}', "manifest_schema"),
        ("an integer beyond 2^53", '{"a":9007199254740993}', "manifest_schema"),
        ("a huge whole number", '{"a":1e300}', "manifest_schema"),
        ("a lone surrogate", '{"a":"\\ud800"}', "manifest_schema"),
        ("a lone surrogate as key", '{"\\udc00":1}', "manifest_schema"),
        ("nested too deeply", '{"a":' + "[" * 80 + "]" * 80 + "}", "manifest_schema"),
        ("__proto__ is an ordinary field", '{"__proto__":{"schemaVersion":1}}', "manifest_schema"),
    ]
    return [{"why": why, "text": text, "code": code} for why, text, code in texts]
