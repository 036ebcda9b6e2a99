/** A course in the tab, as a visitor of the site takes it: what is foretold better afterwards, and what worse; how fast its adapter comes and goes. */
const TURNS = 40;
let session, model;

const milliseconds = async (work) => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

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
    const moves = await this.moves(await trainer.adapter());
    await trainer.discard();
    return { seconds, steps: step, before, after, ...moves };
  },
  /** Milliseconds: loading an adapter, the first and a further one; a request of one token by the adapter of the one before, and by another. */
  async moves(adapter) {
    const load = (id) => milliseconds(() => session.adapters.load(adapter, { id }));
    const ask = (id) => milliseconds(() => session.complete({ prompt: "def area(" }, { temperature: 0, maxTokens: 1, adapters: id }));
    const moves = { loads: [await load("a"), await load("b")], same: [], other: [] };
    for (const id of ["a", "b"]) await ask(id);
    for (let turn = 0; turn < TURNS; turn++) {
      moves.same.push(await ask("b"));
      await ask("a");
      moves.other.push(await ask("b"));
    }
    for (const id of ["a", "b"]) await session.adapters.unload(id);
    return moves;
  },
};
