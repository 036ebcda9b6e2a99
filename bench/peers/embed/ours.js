/** Our page: the SDK of the built site as anybody would use it, checks and storage included. */
import { offer } from "./measure.js";

let session;

offer({
  async open({ site, model, version, threads }) {
    const { ModelLoader } = await import(`${site}edgenet.js`);
    session = await new ModelLoader({ threads }).load(model, { version });
  },
  async embed(texts) {
    const rows = await session.embedBatch(texts);
    return new Float32Array(rows[0].buffer, rows[0].byteOffset, rows.length * 384);
  },
});
