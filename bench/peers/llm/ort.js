/** The peer onnxruntime-web: its wasm provider in a worker of its own; the page passes calls on. */
const worker = new Worker("ort-worker.js", { type: "module" });

const ask = (call, args) => new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.result));
  worker.onerror = (event) => reject(new Error(event.message));
  worker.postMessage({ call, args });
});
window.bench = { open: (args) => ask("open", args), run: (args) => ask("run", args) };
