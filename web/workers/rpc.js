/**
 * The one worker protocol: ask, answer, events, cancel, transfer. Runs in a page, a worker, an iframe, a service worker and Node.
 * It knows nothing of what is asked. It refuses to leave anybody waiting: a side that dies rejects every call in flight.
 *
 *   → {id, kind, args}   ← {id, result} | {id, error} | {id, event}      → {id, cancel: true}
 */
import { UnknownKind, WorkerDied, fromData, toData } from "../sdk/errors.js";

/**
 * Anything with postMessage and message events: Worker, MessagePort, DedicatedWorkerGlobalScope.
 * Two windows talk through the ports of a MessageChannel, one of which is posted to the other window.
 * @typedef {{postMessage: Function, addEventListener: Function, removeEventListener: Function, start?: Function, close?: Function, terminate?: Function}} Port
 *
 * @typedef {object} CallOptions
 * @property {AbortSignal} [signal] when it fires the call rejects at once with its reason, and the handler's own signal fires
 * @property {(event: any) => void} [onEvent] what the handler emits, in order, before the answer
 * @property {Transferable[]} [transfer] buffers inside `args` that are moved instead of copied
 *
 * @typedef {object} Connection
 * @property {(kind: string, args?: any, options?: CallOptions) => Promise<any>} call
 * @property {(reason?: Error) => void} close rejects what waits with `reason` (WorkerDied if none); ends a Worker, closes a MessagePort
 * @property {boolean} closed
 *
 * @typedef {object} Context
 * @property {AbortSignal} signal fires when the caller cancels or goes away
 * @property {(event: any, transfer?: Transferable[]) => void} emit
 *
 * @typedef {(args: any, context: Context) => any} Handler
 */

const ALIVE = "rpc.alive";

class Transferring {
  constructor(result, buffers) {
    this.result = result;
    this.buffers = buffers;
  }
}

/**
 * Marks an answer whose buffers are to be moved, not copied: `return transferring({vectors}, [vectors.buffer])`.
 * @param {any} result @param {Transferable[]} buffers
 */
export const transferring = (result, buffers) => new Transferring(result, buffers);

/**
 * Answers calls on `port` from a table kind → handler. Trap: call it before the first `await` of a worker's module, or early calls are lost.
 * @param {Port} port
 * @param {Record<string, Handler>} handlers
 * @returns {{close: () => void}} close() stops listening and aborts what runs
 */
export function serve(port, handlers) {
  /** @type {Map<number, AbortController>} */
  const running = new Map();
  const table = { [ALIVE]: holdAliveLock, ...handlers };
  const abortAll = () => running.forEach((controller) => controller.abort());
  const onMessage = ({ data }) => {
    if (data?.cancel) running.get(data.id)?.abort();
    else if (typeof data?.kind === "string") answer(port, table, running, data);
  };
  port.addEventListener("message", onMessage);
  port.addEventListener("close", abortAll); // a MessagePort whose other side is gone (Chromium)
  port.start?.();
  return {
    close() {
      port.removeEventListener("message", onMessage);
      abortAll();
    },
  };
}

/** Runs one handler and posts exactly one answer for it, also when the result cannot be cloned. */
async function answer(port, handlers, running, { id, kind, args }) {
  const controller = new AbortController();
  const emit = (event, transfer = []) => port.postMessage({ id, event }, transfer);
  running.set(id, controller);
  try {
    if (!Object.hasOwn(handlers, kind)) throw new UnknownKind(`This worker has no kind "${kind}". It answers: ${Object.keys(handlers).join(", ")}.`, { kind });
    const result = await handlers[kind](args ?? {}, { signal: controller.signal, emit });
    if (result instanceof Transferring) port.postMessage({ id, result: result.result }, result.buffers);
    else port.postMessage({ id, result });
  } catch (error) {
    port.postMessage({ id, error: toData(error) });
  } finally {
    running.delete(id);
  }
}

/**
 * The calling side. A Worker's `error` event (it failed to load, or threw outside a handler: its state is unknown) counts as death.
 * @param {Port} port
 * @param {string} [name] how messages call it, e.g. "loader worker"
 * @returns {Connection}
 */
export function connect(port, name = "worker") {
  /** @type {Map<number, {resolve: Function, reject: Function, onEvent?: Function, release: () => void}>} */
  const waiting = new Map();
  let next = 1;
  let death = null;

  function settle(id, method, value) {
    const entry = waiting.get(id);
    if (!entry) return; // cancelled meanwhile
    waiting.delete(id);
    entry.release();
    entry[method](value);
  }
  function onMessage({ data }) {
    if (!data || data.kind !== undefined || !waiting.has(data.id)) return;
    if ("event" in data) waiting.get(data.id)?.onEvent?.(data.event);
    else if (data.error) settle(data.id, "reject", fromData(data.error));
    else settle(data.id, "resolve", data.result);
  }
  function close(reason) {
    if (death) return;
    death = reason ?? new WorkerDied(`The ${name} was ended. Start it again to go on.`, { worker: name });
    port.removeEventListener("message", onMessage);
    (port.terminate ?? port.close)?.call(port);
    for (const id of [...waiting.keys()]) settle(id, "reject", death);
  }
  /** @type {Connection["call"]} */
  function call(kind, args = {}, { signal, onEvent, transfer = [] } = {}) {
    if (death) return Promise.reject(death);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const id = next++;
      const cancel = () => {
        port.postMessage({ id, cancel: true });
        settle(id, "reject", signal?.reason);
      };
      const release = () => signal?.removeEventListener("abort", cancel);
      waiting.set(id, { resolve, reject, onEvent, release });
      signal?.addEventListener("abort", cancel, { once: true });
      try {
        port.postMessage({ id, kind, args }, transfer);
      } catch (error) {
        settle(id, "reject", error); // args that cannot be cloned
      }
    });
  }

  const died = (why) => close(new WorkerDied(`The ${name} stopped: ${why}. Reload the page, or start it again.`, { worker: name, why }));
  port.addEventListener("message", onMessage);
  port.addEventListener("error", (event) => died(event.message || "its script could not be loaded or failed"));
  port.addEventListener("messageerror", () => died("it sent something that could not be read"));
  port.addEventListener("close", () => died("its port was closed"));
  port.start?.();
  if (typeof Worker !== "undefined" && port instanceof Worker) watch(call, died);
  return { call, close, get closed() { return death !== null; } };
}

/**
 * A worker that is ended by the browser (memory) or by `self.close()` fires no event. But its Web Locks are freed: it holds one
 * with a name of its own, and we wait for it. Not for iframes: another origin has other locks.
 */
async function watch(call, died) {
  const name = await call(ALIVE).catch(() => null);
  if (name) await navigator.locks.request(name, () => died("it ended without a word, perhaps for lack of memory")).catch(() => {});
}

/** Answers the lock's name once it is held; holds it until this worker ends. Null where there are no locks (insecure context, Node). */
function holdAliveLock() {
  const locks = globalThis.navigator?.locks;
  if (!locks) return null;
  const name = `edgenet-alive:${crypto.randomUUID()}`;
  return new Promise((resolve, reject) => {
    locks.request(name, () => { resolve(name); return new Promise(() => {}); }).catch(reject);
  });
}
