"""Adapters that PEFT taught, in the folders that PEFT wrote (tests/vectors/adapters/taught-*.json), open in the page through its own Python.

The logits are PEFT's on transformers' model of the same weights: F32, and a Q8_0 file's, dequantised. test_training_peft.py goes the other way.
"""

import base64

import numpy as np
import pytest

from tests.browser.test_sdk_adapters import cosine
from tests.browser.test_sdk_language import prepared
from tests.unit.small_adapters import base, files, recorded, unpacked
from tools.oracles.small_models import PROMPTS, ROWS

pytestmark = pytest.mark.browser
OPENED = """async ([files, tokens]) => {
  window.session = await make().load({ file: gguf });
  const folder = Object.entries(files).map(([name, data]) => new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
  await session.adapters.load({ files: folder }, { id: "theirs" });
  const logits = async (adapters) => Array.from(await session.askWorker("lm.logits", { tokens, adapters }));
  return { plain: await logits([]), taught: await logits([{ id: "theirs", scale: 1 }]) };
}"""


ROUTINE = {("llama", "f32"), ("qwen2", "q8_0")}  # the others with --long
CASES = [
    pytest.param(name, kind, marks=() if (name, kind) in ROUTINE else pytest.mark.long)
    for name in ("llama", "qwen2", "gemma2")
    for kind in ("f32", "q8_0")
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_peft_taught_has_pefts_logits_in_the_page(page, site, name, kind):
    record, tokens = f"taught-{name}", [int(token) for token in PROMPTS[0]]
    prepared(page, site(), base(name, kind))
    folder = {file: base64.b64encode(data).decode() for file, data in files(record).items()}
    found = page.evaluate(OPENED, [folder, tokens])
    plain, taught = (np.reshape(found[key], (len(tokens), -1))[-ROWS:] for key in ("plain", "taught"))
    want = unpacked(recorded(record)["logits"][kind], *taught.shape)
    if kind == "f32":
        assert np.abs(taught - want).max() <= 1e-3 * max(1, np.abs(want).max()) < 0.05 * np.abs(plain - want).max()
    assert cosine(taught, want) >= 0.999 > cosine(plain, want)
