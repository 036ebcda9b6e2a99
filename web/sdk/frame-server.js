/**
 * The frame's side of an embedding: greets the page around it, takes one port, and serves a Hub on it. Runs in embed.html.
 */
import { serve, transferring } from "../workers/rpc.js";
import { FrameRefused } from "./errors.js";
import { CONNECT, HELLO, passedOptions } from "./frame.js";
import { Hub } from "./hub.js";
import { readOptions } from "./options.js";
import { resolveUrls } from "./place.js";
import { requireSecure } from "./secure.js";

/** Origins that may embed: the content of `<meta name="edgenet-embedders">`, `*` when there is none. */
const allowed = () => (document.querySelector('meta[name="edgenet-embedders"]')?.getAttribute("content") ?? "*").split(/\s+/);

/** Only the page around the frame, only once, only an allowed origin. The greeting tells nothing, so it may go to anybody. */
export function serveFrame() {
  const only = new AbortController();
  addEventListener("message", ({ data, source, origin, ports }) => {
    if (source !== parent || parent === window || data?.type !== CONNECT || ports.length !== 1) return;
    only.abort();
    if (allowed().includes("*") || allowed().includes(origin)) serveHub(ports[0], data.options);
    else refuse(ports[0], origin);
  }, { signal: only.signal });
  parent.postMessage({ type: HELLO }, "*");
}

/** A stranger gets an answer, so that it does not wait. @param {MessagePort} port @param {string} origin */
function refuse(port, origin) {
  const call = () => { throw new FrameRefused(`${location.origin} does not serve pages of ${origin}. Ask its owner to add that origin to the meta tag edgenet-embedders of embed.html.`, { origin }); };
  serve(port, { call });
}

/** @param {MessagePort} port @param {any} given the page's options, cut down and judged again: the page around may be hostile */
function serveHub(port, given) {
  /** @type {Hub} */ let hub;
  const made = () => (hub ??= (requireSecure(), new Hub({ urls: resolveUrls({ base: new URL("./", location.href).href }), options: readOptions(passedOptions(given)), framed: true })));
  serve(port, {
    async call({ kind, args }, { signal, emit }) {
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
