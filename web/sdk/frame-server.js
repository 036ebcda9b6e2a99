/**
 * The frame's side of an embedding: greets the page around it, takes one port, and serves a Hub on it. Runs in embed.html.
 */
import { serve, transferring } from "../workers/rpc.js";
import { FrameRefused, NotSupported, UnknownKind } from "./errors.js";
import { CONNECT, HELLO, passedOptions } from "./frame.js";
import { Hub } from "./hub.js";
import { readOptions } from "./options.js";
import { resolveUrls } from "./place.js";
import { requireSecure } from "./secure.js";

/** What a page may ask: what the SDK itself asks. A kind is served only once it is named here. @type {Record<string, string[]>} */
const SERVED = {
  hub: ["open", "close", "status", "events", "stop", "persist", "discard", "forget", "kernels", "kernels.run", "kernels.add"],
  loader: ["pull", "isCached", "cached", "remove", "manifest", "models", "compatibility", "verify", "usage"],
  engine: ["embed", "split", "tokens", "memory", "adapter.set", "index.put", "index.get", "index.search", "index.delete"],
  lm: ["generate", "embed", "encode", "decode", "memory", "clear", "status", "adapters.load", "adapters.unload", "adapters.list",
    ...["start", "pause", "resume", "cancel", "adapter", "evaluate", "keep", "discard", "runs"].map((name) => `train.${name}`),
    ...["list", "import", "rename", "describe", "pin", "remove", "ready", "export", "merge", "into"].map((name) => `library.${name}`)],
  python: ["boot", "compile", ...["open", "mark", "undo", "reset", "forget", "state", "export", "import"].map((name) => `teach.${name}`)],
};
export const KINDS = new Set(Object.entries(SERVED).flatMap(([worker, kinds]) => kinds.map((kind) => `${worker}.${kind}`)));

/**
 * Refuses what no page around the frame may ask: kinds of no use to it; to empty a store that other pages of its site may share; and to
 * make this origin fetch an address of the page's choice. @param {string} kind @param {any} args
 */
function requireServed(kind, args) {
  if (kind === "loader.clear") throw new NotSupported("In a frame the cache may be shared with other pages, so none may empty it. Remove the models you know by clearCache(id).", { kind });
  if (!KINDS.has(kind)) throw new UnknownKind(`EdgeNet's frame does not answer "${kind}".`, { kind });
  if (kind.startsWith("loader.") && args?.url !== undefined) throw new NotSupported("In a frame only models of the frame's own site are fetched, by id. Put EdgeNet's files on your origin (frame: false) for others.", { kind });
}

/** Origins that may embed: the content of `<meta name="edgenet-embedders">`, `*` when there is none. */
const allowed = () => (document.querySelector('meta[name="edgenet-embedders"]')?.getAttribute("content") ?? "*").split(/\s+/);

/** Only the page around the frame, only once, only an allowed origin. The greeting tells nothing, so it may go to anybody. */
export function serveFrame() {
  const only = new AbortController();
  addEventListener("message", ({ data, source, origin, ports }) => {
    if (source !== parent || parent === window || data?.type !== CONNECT || ports.length !== 1) return;
    only.abort();
    if (allowed().includes("*") || allowed().includes(origin)) serveHub(ports[0], data.options, origin);
    else refuse(ports[0], origin);
  }, { signal: only.signal });
  parent.postMessage({ type: HELLO }, "*");
}

/** A stranger gets an answer, so that it does not wait. @param {MessagePort} port @param {string} origin */
function refuse(port, origin) {
  const call = () => { throw new FrameRefused(`${location.origin} does not serve pages of ${origin}. Ask its owner to add that origin to the meta tag edgenet-embedders of embed.html.`, { origin }); };
  serve(port, { call });
}

/** @param {MessagePort} port @param {any} given the page's options, cut down and judged again: the page around may be hostile @param {string} owner its origin */
function serveHub(port, given, owner) {
  /** @type {Hub} */ let hub;
  const made = () => (hub ??= (requireSecure(), new Hub({ urls: resolveUrls({ base: new URL("./", location.href).href }), options: readOptions(passedOptions(given)), framed: true, owner })));
  serve(port, {
    async call({ kind, args }, { signal, emit }) {
      requireServed(kind, args);
      const result = await made().call(kind, args, { signal, onEvent: emit });
      return transferring(result, buffersOf(result));
    },
  });
  addEventListener("pagehide", () => hub?.close());
}

/** Array buffers of an answer, so that they are moved. @param {any} value @param {Set<ArrayBuffer>} [found] @returns {ArrayBuffer[]} */
export function buffersOf(value, found = new Set()) {
  if (ArrayBuffer.isView(value) && value.buffer instanceof ArrayBuffer) found.add(value.buffer);
  else if (value instanceof ArrayBuffer) found.add(value);
  else if (value !== null && typeof value === "object") for (const inner of Object.values(value)) buffersOf(inner, found);
  return [...found];
}
