/**
 * The embedding model's part of routing: from texts to a profile, from a question to the saved adapters that are like it. Page.
 */
import { EmptyText, InvalidOption, NoRouter } from "./errors.js";
import { THRESHOLD, learned, route, sampleOf } from "./routing.js";

/**
 * @typedef {import("./session.js").InferenceSession} InferenceSession
 * @typedef {InferenceSession | (() => InferenceSession | Promise<InferenceSession>)} Embedder a session of an embedding model, or who answers one when it is needed
 * @typedef {{embedder: Embedder, threshold?: number}} Router `threshold`: cosine below which an adapter has nothing to say, 0.18
 * @typedef {{id: string, name: string, score: number}} Routed a saved adapter, and the cosine of what it was trained on with what was asked
 */

/** What routes every request that says so. */
export const AUTO = "auto";

/** @param {any} given @returns {Required<Router>} @throws InvalidOption, NoRouter */
export function readRouter(given) {
  if (!given) throw new NoRouter('To choose an adapter by what is asked takes an embedding model: session.adapters.router = { embedder: await loader.load("minilm-l6-v2-q8") }.', {});
  const { embedder, threshold = THRESHOLD } = given;
  if (!(threshold >= -1 && threshold <= 1)) throw new InvalidOption(`A threshold is a cosine from -1 to 1, found ${String(threshold)}.`, { option: "threshold" });
  if (typeof embedder !== "function" && !isEmbedder(embedder)) throw notEmbedder();
  return { embedder, threshold };
}

/** A router for many requests: who answers an embedding session is asked once; after a failure, or when that session was disposed to make room, again. @param {Required<Router>} router @returns {Required<Router>} */
export function keptRouter({ embedder, threshold }) {
  if (typeof embedder !== "function") return { embedder, threshold };
  /** @type {Promise<InferenceSession> | null} */ let session = null;
  const once = async () => {
    const last = session;
    if ((await last)?.disposed && session === last) session = null;
    return (session ??= opened(embedder).catch((error) => { session = null; throw error; }));
  };
  return { embedder: once, threshold };
}

/** What texts are about. @param {any[]} examples as `readExamples` reads them @param {Embedder} embedder @param {AbortSignal} [signal] @throws EmptyText, and what the embedder throws */
export async function profileOf(examples, embedder, signal) {
  const texts = sampleOf(examples);
  if (!texts.length) throw new EmptyText("There is no text to describe the adapter by. Give some of what it was trained on.", {});
  const session = await opened(embedder);
  return learned(await session.embedBatch(texts, { signal }), texts, nameOf(session));
}

/**
 * Saved adapters that the question is like, the likest first. @param {string | ArrayLike<number>} question a text, or its vector @param {import("./adapters.js").SavedAdapter[]} saved
 * @param {Required<Router>} router @param {AbortSignal} [signal] @returns {Promise<Routed[]>} empty: none @throws EmptyText, NotFinite, and what the embedder throws
 */
export async function routed(question, saved, { embedder, threshold }, signal) {
  if (!saved.some(({ profile }) => profile)) return []; // no reason to fetch an embedding model
  const session = await opened(embedder);
  const vector = typeof question === "string" ? await session.embed(question, { signal }) : question;
  return route(vector, saved, threshold, nameOf(session)).map(({ adapter: { id, name }, score }) => ({ id, name, score }));
}

/** Vectors belong to one version of one model. @param {InferenceSession} session */
const nameOf = ({ id, version }) => `${id}@${version}`;

/** @param {Embedder} embedder @returns {Promise<InferenceSession>} */
async function opened(embedder) {
  const session = typeof embedder === "function" ? await embedder() : embedder;
  if (!isEmbedder(session)) throw notEmbedder();
  return session;
}

/** @param {any} session */
const isEmbedder = (session) => Boolean(session?.operations?.includes("embedBatch"));
const notEmbedder = () => new InvalidOption('The embedder is a session of an embedding model, such as await loader.load("minilm-l6-v2-q8"), or a function that answers one.', { option: "embedder" });
