"""An adapter trained in Chromium opens in PEFT, beside transformers' model of the same weights, with the page's logits.

Needs torch, transformers and peft; with --long.
"""

import base64
import io
import zipfile

import numpy as np
import pytest

from tests.browser.test_sdk_adapters import cosine
from tests.browser.test_sdk_language import prepared
from tests.unit.small_adapters import base
from tools.oracles.small_models import PROMPTS, ROWS

pytestmark = [pytest.mark.browser, pytest.mark.long]
for package in ("torch", "transformers", "peft"):
    pytest.importorskip(package)
from tools.oracles import taught_adapters  # noqa: E402 - it needs all three

TEXT = "the cat sat on the mat, and the mat was flat. " * 40
COURSE = """async ([text, tokens]) => {
  window.session = await make().load({ file: gguf });
  const training = { maxSteps: 20, maxLength: 32, learningRate: 0.02, dots: "f32", validation: 0 };
  const trainer = session.createTrainer({ name: "taught", lora: { r: 4, loraAlpha: 8 }, training });
  const { metrics } = await trainer.train(text);
  const { id } = await session.adapters.keep(await trainer.adapter());
  await session.adapters.load({ saved: id });
  const logits = async (adapters) => Array.from(await session.askWorker("lm.logits", { tokens, adapters }));
  const file = new Uint8Array(await (await session.adapters.export(id, "peft")).arrayBuffer());
  const zip = btoa(file.reduce((text, byte) => text + String.fromCharCode(byte), ""));
  return { plain: await logits([]), taught: await logits([{ id, scale: 1 }]), zip, losses: metrics.losses.map(({ loss }) => loss) };
}"""


@pytest.mark.parametrize("kind", ["f32", "q8_0"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2"])
def test_peft_opens_what_a_tab_learned_with_the_tabs_logits(page, site, name, kind):
    data = base(name, kind)
    prepared(page, site(), data)
    tokens = [int(token) for token in PROMPTS[0]]
    found = page.evaluate(COURSE, [TEXT, tokens])
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(found["zip"]))) as folder:
        files = {entry.rpartition("/")[2]: folder.read(entry) for entry in folder.namelist() if not entry.endswith("/")}
    want = taught_adapters.logits(name, files, data, tokens)
    taught, plain = (np.reshape(found[key], (len(tokens), -1))[-len(want) :] for key in ("taught", "plain"))
    assert len(want) == min(ROWS, len(tokens)) and found["losses"][-1] < found["losses"][0]
    if kind == "f32":
        assert np.abs(taught - want).max() <= 1e-3 * max(1, np.abs(want).max()) < 0.05 * np.abs(plain - want).max()
    assert cosine(taught, want) >= 0.999 > cosine(plain, want)
