/** The peer's page: `open(options)`, then `embed(texts)` → Float32Array n × 384. */
import { offer } from "./measure.js";

const worker = new Worker("./peer-worker.js", { type: "module" });
const call = (kind, args) => new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.result));
  worker.onerror = (event) => reject(new Error(event.message));
  worker.postMessage({ kind, args });
});

offer({
  open: ({ dtype, threads }) => call("load", { dtype, threads, models: new URL("models/", location.href).href, ort: new URL("ort/", location.href).href }),
  embed: (texts) => call("embed", { texts }),
});
