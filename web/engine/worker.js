/**
 * The engine worker: holds models and vector indexes, embeds and searches. Module worker. It reads the store and never writes it,
 * decides nothing about learning, and keeps no text.
 */
import { Disposed, EmptyText, IndexLost, NoModel } from "../sdk/errors.js";
import { VERSION } from "../sdk/version.js";
import { serve, transferring } from "../workers/rpc.js";
import { isTrap } from "./kernels/traps.js";
import { kernelSource } from "./kernel-source.js";
import { openModel } from "./model.js";
import { Turns } from "./turns.js";
import { VectorIndex } from "./vector-index.js";

/** Texts embedded in one turn. */
const SLICE = 64;

/**
 * @typedef {object} Session
 * @property {import("./model.js").Model} model
 * @property {VectorIndex | null} index made when first used
 * @property {{A: Float32Array, B: Float32Array, alpha: number} | null} adapter
 * @property {boolean} lost an index that was filled before is gone
 */

/** @type {Map<string, Session>} */ const sessions = new Map();
/** @type {any} */ let config = null;
/** @type {ReturnType<typeof kernelSource>} */ let kernels;
const turns = new Turns();
/** @type {any[]} */ const unsaid = [];
/** @type {(event: any) => void} */
let say = (event) => { unsaid.push(event); };

/** What a model says while it is loaded goes to who loads it, later on to the page. @param {(event: any) => void} emit */
const heard = (emit) => (/** @type {any} */ event) => (event.status === "progress" ? emit(event) : say(event));

/** The last engine build broke: once what waits has been rejected this worker ends, and the Hub starts another. */
const end = () => { setTimeout(() => self.close()); };

/** @param {{session: string}} args @returns {Session} */
function sessionOf({ session }) {
  const found = sessions.get(session);
  if (!found) throw new Disposed("This session is not open in the engine. Load the model again.", { session });
  return found;
}

/** @param {Session} session */
async function indexOf(session) {
  if (session.lost) throw new IndexLost("The engine was restarted and its index is gone. Clear it and put the vectors in again.", {});
  if (!session.index) {
    session.index = new VectorIndex(await kernels.host(), session.model.dimensions);
    session.index.setAdapter(session.adapter);
  }
  return session.index;
}

/** After a trap nothing in that memory can be believed. @template T @param {Session} session @param {() => T} work @returns {T} */
function guarded(session, work) {
  try {
    return work();
  } catch (error) {
    if (isTrap(error)) Object.assign(session, { index: null, lost: true });
    throw error;
  }
}

/** @param {Session} session */
const memoryOf = ({ model, index }) => ({ modelBytes: model.modelBytes, wasmBytes: model.embedder.memory(), indexBytes: index?.memory ?? 0, kvCacheBytes: 0 });

/** What every answer about an index carries. @param {Session} session */
const figures = (session) => ({ size: session.index?.size ?? 0, memory: memoryOf(session) });

/** Progress in whole texts. @param {Session} session @param {number} done @param {number} total */
function embedded({ model }, done, total) {
  return { status: "progress", phase: "embed", name: model.manifest.id, loaded: Math.floor(done + 1e-9), total, progress: (100 * done) / total };
}

/** A query's vector, ahead of other work. @param {Session} session @param {string} text @param {AbortSignal} signal */
async function embedQuery(session, text, signal) {
  if (!text.trim()) throw new EmptyText("The search is empty. Type some words.", {});
  const { vectors } = await turns.take(() => session.model.embedder.embed([text], { signal }), { urgent: true, signal });
  return vectors;
}

/** @type {Record<string, import("../workers/rpc.js").Handler>} */
const handlers = {
  configure(given) {
    config = given;
    kernels = kernelSource(config.urls, VERSION, (event) => say(event));
  },
  /** Answered by death alone; carries what happens outside of any call. */
  alive(_args, { emit }) {
    unsaid.splice(0).forEach((event) => emit(event));
    say = emit;
    return new Promise(() => {});
  },
  async load({ session, id, version, threads, without, indexLost = false }, { signal, emit }) {
    if (!config) throw new NoModel("The engine was not configured.", {});
    const model = await turns.take(() => openModel({ id, version }, { threads, without, urls: config.urls, emit: heard(emit), lost: end }), { signal });
    if (signal.aborted) { // compiling cannot be stopped; what nobody waits for any more is given back
      await model.dispose();
      throw signal.reason;
    }
    sessions.set(session, { model, index: null, adapter: null, lost: indexLost });
    const { manifest, dimensions, maxTokens } = model;
    return { id, version, type: manifest.type, manifest, dimensions, maxTokens, build: model.build(), memory: memoryOf(sessionOf({ session })) };
  },
  async embed(args, { signal, emit }) {
    const session = sessionOf(args);
    const { texts } = args;
    const out = { vectors: new Float32Array(texts.length * session.model.dimensions), tokens: new Int32Array(texts.length), pieces: new Int32Array(texts.length) };
    for (let from = 0; from < Math.max(1, texts.length); from += SLICE) { // an empty list is the embedder's to refuse
      const slice = texts.slice(from, from + SLICE);
      const onProgress = (/** @type {number} */ done, /** @type {number} */ of) => emit(embedded(session, from + (slice.length * done) / of, texts.length));
      const found = await turns.take(() => session.model.embedder.embed(slice, { signal, onProgress }), { signal });
      out.vectors.set(found.vectors, from * session.model.dimensions);
      out.tokens.set(found.tokens, from);
      out.pieces.set(found.pieces, from);
    }
    return transferring({ ...out, memory: memoryOf(session) }, [out.vectors.buffer]);
  },
  async split({ session, text, ...how }) {
    const { model } = sessionOf({ session });
    return { passages: model.embedder.split(text, how) };
  },
  async tokens({ session, texts }) {
    const { model } = sessionOf({ session });
    return { tokens: texts.map((/** @type {string} */ text) => model.embedder.countTokens(text)) };
  },
  memory: (args) => ({ memory: memoryOf(sessionOf(args)) }),
  async dispose({ session }) {
    const found = sessions.get(session);
    sessions.delete(session);
    await found?.model.dispose();
  },
  async "index.put"(args) {
    const session = sessionOf(args);
    const index = await indexOf(session);
    guarded(session, () => index.put(args.id, args.vectors));
    return figures(session);
  },
  async "index.delete"(args) {
    const session = sessionOf(args);
    const deleted = (await indexOf(session)).delete(args.id);
    return { deleted, ...figures(session) };
  },
  async "index.clear"(args) {
    const session = sessionOf(args);
    Object.assign(session, { index: null, lost: false }); // gives the memory back, too
    return figures(session);
  },
  async "index.get"(args) {
    const session = sessionOf(args);
    const vectors = (await indexOf(session)).get(args.id, args.row);
    return transferring({ vectors, ...figures(session) }, [vectors.buffer]);
  },
  async "index.search"({ text, vector, k, adapter, withVectors = false, ...args }, { signal }) {
    const session = sessionOf(args);
    const index = await indexOf(session);
    const query = vector ?? (await embedQuery(session, text, signal));
    const found = guarded(session, () => index.search(query, k, adapter));
    return { ...found, vectors: withVectors ? index.vectorsOf(found.results) : undefined, ...figures(session) };
  },
  "adapter.set"({ A, B, alpha, ...args }) {
    const session = sessionOf(args);
    const adapter = A ? { A, B, alpha } : null;
    VectorIndex.checkAdapter(adapter, session.model.dimensions);
    session.index?.setAdapter(adapter);
    session.adapter = adapter;
  },
  status: async () => ({ ...(await kernels.about()), sessions: sessions.size, version: VERSION }),
};

serve(/** @type {any} */ (self), handlers);
