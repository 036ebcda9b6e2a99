/**
 * The last resort where the browser refuses all storage: bytes and index in the loader worker's memory, gone with the tab.
 * Other workers of the same origin read them by asking over a BroadcastChannel. Runs anywhere.
 */
const CHANNEL = "edgenet-memory";
const PATIENCE = 2000; // ms without an answer: no loader of this origin holds it

export const memory = {
  /** Why IndexedDB is not used, or "" while it is. */
  refused: "",
  /** @type {Map<string, any>} */
  index: new Map(),
  /** merkleRoot → chunks by number. @type {Map<string, Uint8Array[]>} */
  chunks: new Map(),
  /** True in the worker that answers the others: it need not ask anybody. */
  owner: false,
};

/** Answers other workers' questions out of this worker's memory. Called once by the loader worker. */
export function serveMemory() {
  const channel = new BroadcastChannel(CHANNEL);
  memory.owner = true;
  channel.addEventListener("message", ({ data }) => {
    if (!data.ask) return;
    const value = data.key ? memory.index.get(data.key) : memory.chunks.get(data.root)?.[data.chunk];
    if (value !== undefined) channel.postMessage({ answer: data.ask, value });
  });
  return channel;
}

/**
 * @param {{key: string} | {root: string, chunk: number}} question
 * @returns {Promise<any>} undefined if nobody answers
 */
export async function askMemory(question) {
  if (memory.owner) return undefined;
  const channel = new BroadcastChannel(CHANNEL);
  const ask = crypto.randomUUID();
  return new Promise((resolve) => {
    const finish = (value) => { clearTimeout(timer); channel.close(); resolve(value); };
    const timer = setTimeout(finish, PATIENCE, undefined);
    channel.addEventListener("message", ({ data }) => { if (data.answer === ask) finish(data.value); });
    channel.postMessage({ ...question, ask });
  });
}
