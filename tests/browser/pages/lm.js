/**
 * What the tests of the language worker drive: a page with a loader worker and language workers by name. Every call answers data, errors
 * included; typed arrays come as lists.
 */
import { connect } from "../../../web/workers/rpc.js";

const at = (path) => new URL(path, document.baseURI).href;
const urls = {
  base: at("./"), models: at("models/"), trust: at("trust.json"), revocations: at("revocations.json"), kernels: at("kernels/"), thread: at("workers/lm-thread.js"),
};
const workers = new Map();
const events = [];

async function attempt(work) {
  try {
    return { result: plain(await work()) };
  } catch ({ name, code, message, details }) {
    return { error: { name, code, message, details } };
  }
}

const plain = (value) => JSON.parse(JSON.stringify(value ?? null, (_, item) => (ArrayBuffer.isView(item) ? [...item] : item)));

/** A worker of its own for each name. */
async function workerOf(name, script = "lm") {
  if (!workers.has(name)) {
    const connection = connect(new Worker(at(`workers/${script}.js`), { type: "module" }), name);
    await connection.call("configure", { urls, options: {} });
    workers.set(name, { connection });
  }
  return workers.get(name);
}

async function call(name, kind, args, options = {}) {
  const { connection } = await workerOf(name);
  return attempt(() => connection.call(kind, args, { onEvent: (event) => events.push({ worker: name, kind, ...event }), ...options }));
}

window.lm = {
  events,
  call,
  isolated: () => crossOriginIsolated,
  pull: async (id, version = "1.0.0") => attempt(async () => (await workerOf("loader", "loader")).connection.call("pull", { id, version })),
  /** Loads a model from the store: {id, version}, or as files that were dropped: {folder}. */
  async load(name, { folder, ...args }) {
    const { connection } = await workerOf(name);
    return attempt(async () => {
      if (folder) Object.assign(args, await dropped(folder));
      const { abort, ...info } = await connection.call("lm.load", args, { onEvent: (event) => events.push({ worker: name, kind: "lm.load", ...event }) });
      workers.get(name).abort = abort;
      return { ...info, word: Boolean(abort) };
    });
  },
  /** Loads an adapter from an address of the site. */
  async adapter(name, url, args = {}) {
    const bytes = await (await fetch(at(url))).blob();
    return call(name, "lm.adapters.load", { bytes, ...args });
  },
  together: (name, kind, list) => Promise.all(list.map((args) => call(name, kind, args))),
  /** Cancels once `pieces` pieces came, by the abort word too where there is one; answers what came and how long the worker then took to answer anything. */
  async cancel(name, args, pieces) {
    const { connection, abort } = await workerOf(name);
    const controller = new AbortController();
    let [count, began] = [0, 0];
    const onEvent = ({ status }) => {
      if (status !== "piece" || ++count !== pieces) return;
      began = performance.now();
      controller.abort();
      if (abort) Atomics.store(abort, 0, 1);
    };
    const ended = await attempt(() => connection.call("lm.generate", args, { onEvent, signal: controller.signal }));
    const status = await connection.call("lm.status");
    return { ...ended, count, heardMs: performance.now() - began, active: status.active, waiting: status.waiting };
  },
  /** Sets the abort word at every piece, and cancels nothing. */
  async interrupt(name, args) {
    const { connection, abort } = await workerOf(name);
    let set = 0;
    const onEvent = ({ status }) => { if (status === "piece") set += Atomics.exchange(abort, 0, 1) === 0 ? 1 : 0; };
    const answer = await connection.call("lm.generate", args, { onEvent });
    await connection.call("lm.logits", { tokens: [1] }); // a word set after the last run ends this one's first try
    return plain({ set, left: Atomics.load(abort, 0), answer });
  },
  end(name) {
    workers.get(name).connection.close();
    workers.delete(name);
  },
};

/** A model's files as a person drops them: the GGUF as a Blob, what was compiled from its header as data. */
async function dropped(folder) {
  const file = async (name) => (await fetch(at(`${folder}/${name}`))).blob();
  const [program, tokenizer, generation] = await Promise.all(["program.json", "tokenizer.json", "generation.json"].map(async (name) => JSON.parse(await (await file(name)).text())));
  return { files: { model: await file("model.gguf") }, program, tokenizer, generation };
}
