/**
 * What the loader tests drive: a page with one loader worker, its events kept in `events`. Every call answers data, errors included.
 */
import { holdUse } from "../../../web/loader/locks.js";
import { deleteKey, listKeys, openArtifact, readKey, writeKey } from "../../../web/loader/store.js";
import { connect } from "../../../web/workers/rpc.js";

const state = { loader: null, events: [], abort: null };

const attempt = async (work) => {
  try {
    return { result: await work() };
  } catch ({ name, code, message, details }) {
    return { error: { name, code, message, details } };
  }
};

window.harness = {
  events: state.events,
  async start(options = {}, worker = "workers/loader.js") {
    state.loader = connect(new Worker(new URL(worker, document.baseURI), { type: "module" }), "loader worker");
    const at = (path) => new URL(path, document.baseURI).href;
    const urls = { base: at("./"), models: at("models/"), trust: at("trust.json"), revocations: at("revocations.json") };
    await state.loader.call("configure", { urls, options });
  },
  stop: () => state.loader.close(),
  call(kind, args) {
    state.abort = new AbortController();
    return attempt(() => state.loader.call(kind, args, { onEvent: (event) => state.events.push(event), signal: state.abort.signal }));
  },
  /** Begins a call that a later evaluate waits for with `finished`. */
  begin(kind, args) { state.running = this.call(kind, args); },
  finished: () => state.running,
  cancel: () => state.abort.abort(),
  /** SHA-256 (hex) of a stored artifact. */
  hash: (root) => attempt(async () => hex(await crypto.subtle.digest("SHA-256", await (await openArtifact(root)).readAll()))),
  part: (root, offset, length) => attempt(async () => Array.from(await (await openArtifact(root)).read(offset, length))),
  /** Holds an artifact as an engine does. */
  use: async (root) => { await holdUse([root]); },
  /** Names of the files in the store. */
  async stored() {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("edgenet-v1", { create: true });
    const names = [];
    for await (const name of folder.keys()) names.push(name);
    return names.sort();
  },
  keys: async (prefix = "") => (await listKeys(prefix)).map(([key]) => key),
  record: (key) => readKey(key),
  async setRecord(key, value) { await writeKey(key, value); },
  forgetRecord: (key) => deleteKey(key),
  async deleteFile(root) {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("edgenet-v1");
    await folder.removeEntry(root);
  },
  /** Overwrites one stored byte behind the loader's back. */
  async damage(root, offset) {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("edgenet-v1");
    const file = await folder.getFileHandle(root);
    const old = new Uint8Array(await (await file.getFile()).slice(offset, offset + 1).arrayBuffer());
    const stream = await file.createWritable({ keepExistingData: true });
    await stream.write({ type: "write", position: offset, data: new Uint8Array([old[0] ^ 255]) });
    await stream.close();
  },
};
const hex = (buffer) => Array.from(new Uint8Array(buffer), (b) => b.toString(16).padStart(2, "0")).join("");
