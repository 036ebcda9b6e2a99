/**
 * What Python may ask of the page while it works on a call: the language worker of its line, this origin's storage, whom the site believes. Python worker.
 */
import { del, get, keys, set } from "idb-keyval";
import { signedBy } from "../engine/site-trust.js";
import { ADAPTERS } from "../loader/kept.js";
import { trainLock, withLock } from "../loader/locks.js";
import { writeMade } from "../loader/made.js";
import { TrainingUnderWay, WorkerDied, fromData, toData } from "../sdk/errors.js";
import { connect } from "../workers/rpc.js";
import { copied } from "./bridge.js";

/** The way to a language worker, which may be replaced: who asks meanwhile waits for the next one. */
class Line {
  /** @type {import("../workers/rpc.js").Connection | null} */ #connection = null;
  /** @type {Error | null} */ #ended = null;
  /** @type {(() => void)[]} */ #waiting = [];

  /** @param {{port?: MessagePort, error?: any}} given a new way, or why there is none any more */
  replace({ port, error }) {
    this.#ended = error ? fromData(error) : null;
    this.#connection?.close(this.#ended ?? new WorkerDied("The language worker was replaced.", {}));
    this.#connection = port ? connect(port, "language worker") : null;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** @param {string} kind @param {any} args @param {Transferable[]} transfer */
  async call(kind, args, transfer) {
    while (!this.#ended && this.#connection?.closed !== false) await new Promise((resolve) => { this.#waiting.push(() => resolve(undefined)); });
    if (this.#ended) throw this.#ended;
    return /** @type {import("../workers/rpc.js").Connection} */ (this.#connection).call(kind, args, { transfer });
  }
}

/** @type {Map<string, Line>} */
const lines = new Map();

/** @param {string} name */
function lineOf(name) {
  if (!lines.has(name)) lines.set(name, new Line());
  return /** @type {Line} */ (lines.get(name));
}

/** @param {{line: string, port?: MessagePort, error?: any}} given */
export const setLine = ({ line, ...given }) => lineOf(line).replace(given);

/** kind → storage's answer. @param {import("../loader/kept.js").Store} store @returns {Record<string, (args: any) => Promise<any>>} */
const storeKinds = (store) => ({
  "store.list": async ({ prefix }) => (await keys(store)).filter((key) => String(key).startsWith(prefix)),
  "store.get": ({ key }) => get(key, store),
  "store.put": ({ key, data }) => set(key, data, store),
  "store.delete": ({ key }) => del(key, store),
});

/** kind → what is done to the one file that a call may write. @param {AbortSignal} signal @returns {Record<string, (args: any) => any>} */
function madeKinds(signal) {
  /** @type {Awaited<ReturnType<typeof writeMade>> | null} */ let file = null;
  return {
    "made.begin": async ({ name, bytes }) => { file = await writeMade(name, bytes, signal); },
    "made.write": ({ data }) => file?.write(data),
    "made.end": () => file?.end(),
    "made.drop": () => file?.drop(),
  };
}

/**
 * `Page` of Python's browser_page.py. @param {any} pyodide @param {string} line @param {import("../loader/kept.js").Store} store
 * @param {import("../sdk/place.js").Urls} urls @param {import("../workers/rpc.js").Context} context of the call @returns {[ask: Function, emit: Function, stopped: () => boolean]}
 */
export function pageOf(pyodide, line, store, urls, { emit, signal }) {
  const kinds = { ...storeKinds(store), ...madeKinds(signal), "trust.signed": (/** @type {any} */ signed) => signedBy(urls, signed) };
  const work = async (/** @type {string} */ kind, /** @type {any} */ args, /** @type {ArrayBuffer[]} */ buffers) => {
    if (Object.hasOwn(kinds, kind)) return kinds[kind](args);
    return lineOf(line).call(kind, args, buffers);
  };
  const ask = (/** @type {string} */ kind, /** @type {any} */ given) => {
    const { result: args, buffers } = copied(given); // at once: Python's own values live no longer than this call
    return work(kind, args, buffers).then((result) => ({ result }), (error) => ({ error: JSON.stringify(toData(error)) })).then((answer) => pyodide.toPy(answer));
  };
  return [ask, (/** @type {string} */ text) => emit(JSON.parse(text)), () => signal.aborted];
}

/** Kinds that need a training for themselves, in all tabs. */
const WHOLE = new Set(["train.start", "train.discard"]);
/** Kinds of the library that change nothing in it. */
const READING = new Set(["library.into", "library.base", "library.export"]);

/**
 * Whoever changes the library does so alone, in all tabs; a training runs in one.
 * @param {string} kind @param {string} json of the call's arguments @param {AbortSignal} signal ends the waiting for others @param {() => Promise<any>} work
 */
export async function alone(kind, json, signal, work) {
  if (kind === "train.keep" || (kind.startsWith("library.") && !READING.has(kind))) return withLock(ADAPTERS, { signal }, work);
  if (!WHOLE.has(kind)) return work();
  const { id } = JSON.parse(json);
  const answer = await withLock(trainLock(id), { ifAvailable: true }, async () => ({ done: await work() }));
  if (!answer) throw new TrainingUnderWay("This training is under way, here or in another tab. Cancel it first; it can go on later.", { id });
  return answer.done;
}
