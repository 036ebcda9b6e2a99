/** A course in the tab, as a visitor of the site takes it: what is foretold better afterwards, and what worse. */
let session, model;

window.bench = {
  async open({ site, id }) {
    const { InferenceSession } = await import(new URL("edgenet.js", new URL(site, location.href)).href);
    [session, model] = [await InferenceSession.create(id), id];
    return { model, threads: session.info.threads, build: session.info.build };
  },
  /** Bits per byte of each set of texts before and after training on `learn`; seconds of the training. */
  async course({ learn, measured, seed }) {
    const trainer = session.createTrainer({ name: "course", training: { validation: 0, seed } });
    const bits = async (adapter) => {
      const found = {};
      for (const [name, texts] of Object.entries(measured)) found[name] = (await trainer.evaluate(texts, adapter)).bitsPerByte;
      return found;
    };
    const start = performance.now();
    const { step } = await trainer.train(learn);
    const seconds = (performance.now() - start) / 1e3;
    const [after, before] = [await bits({}), await bits({ adapter: null })];
    await trainer.discard();
    return { seconds, steps: step, before, after };
  },
};
