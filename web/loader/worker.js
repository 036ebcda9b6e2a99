/**
 * The loader worker: the only writer of model bytes. Fetch → verify → store. It runs no model and judges no user's data.
 */
import { NotCached, WorkerProtocolError } from "../sdk/errors.js";
import { serve } from "../workers/rpc.js";
import { cachedModels, clearAll, removeById, touch, usage, withRoom } from "./cache.js";
import { isComplete, makeCatalog, rootsOf } from "./catalog.js";
import { checkCompatibility } from "./compatibility.js";
import { WIRE } from "./http.js";
import { holdUse } from "./locks.js";
import { sweep } from "./made.js";
import { serveMemory } from "./memory.js";
import { trackProgress } from "./progress.js";
import { filesOf, pullArtifacts, verifyArtifacts } from "./pull.js";

const DEFAULTS = { maxSize: 2 * 2 ** 30, timeout: 30_000, parallel: 4, retries: 3 };

/** @type {{catalog: ReturnType<typeof makeCatalog>, setting: import("./pull.js").Setting, limit: number} | null} */
let state = null;

/** @param {{urls: import("./catalog.js").Urls, options?: Record<string, any>}} args */
function configure({ urls, options = {} }) {
  const { cache = {}, sources = {}, download = {} } = options;
  const timeout = sources.timeout ?? DEFAULTS.timeout;
  sweep().catch(() => {}); // there is none, or there is no file store
  state = {
    catalog: makeCatalog({ urls, wire: WIRE, timeout }),
    limit: cache.maxSize ?? DEFAULTS.maxSize,
    setting: {
      wire: WIRE, timeout,
      parallel: download.parallel ?? DEFAULTS.parallel,
      retries: download.retries ?? DEFAULTS.retries,
      prefer: [sources.primary, sources.fallback].flat().filter(Boolean),
      places: cache.places,
      every: cache.commit,
    },
  };
  return {};
}

function ready() {
  if (!state) throw new WorkerProtocolError("The loader worker was asked for work before `configure`. Send it {urls, options} first.");
  return state;
}

/** Emits each fallback once per pull. */
function fallbacks(emit) {
  const said = new Set();
  return (event) => {
    const key = `${event.code} ${event.from ?? ""}`;
    if (!said.has(key)) emit({ status: "fallback", ...event });
    said.add(key);
  };
}

const notify = (emit, notices) => notices.forEach(({ code, message }) => emit({ status: "notice", code, reason: message }));

async function accept(which, { signal, emit }) {
  emit({ status: "initiate", phase: "manifest", name: which.id ?? which.url, file: "manifest.json", loaded: 0, total: 0, progress: 0 });
  const accepted = await ready().catalog.accepted(which, { signal });
  notify(emit, accepted.notices);
  return accepted;
}

const summary = ({ manifest, url, state: trust, acceptedAt }, notices) => ({ manifest, url, state: trust, acceptedAt, notices });

async function pull(which, context) {
  const { setting, limit } = ready();
  const { record, notices } = await accept(which, context);
  const files = filesOf(record.manifest);
  const release = await holdUse(rootsOf(record.manifest));
  const progress = trackProgress(record.manifest.id, files, context.emit);
  try {
    const onEvicted = ({ id, version }) => context.emit({ status: "notice", code: "model_evicted", reason: `${id} ${version} was removed to make room.`, id, version });
    const onFallback = fallbacks(context.emit);
    await withRoom(record.manifest, limit, onEvicted, () => pullArtifacts(record, setting, { signal: context.signal, progress, onFallback }));
    await touch(record.manifest, setting.wire.now());
  } finally {
    progress.close();
    release();
  }
  return summary(record, notices);
}

async function verify({ id, version }, context) {
  const { catalog, setting } = ready();
  const record = await catalog.storedRecord(id, version);
  if (!record) throw new NotCached(`"${id}" is not in the cache, so there is nothing to verify. Pull it first.`, { id, version });
  const progress = trackProgress(id, filesOf(record.manifest), context.emit, "verify");
  try {
    const result = await verifyArtifacts(record, setting, { signal: context.signal, progress, onFallback: fallbacks(context.emit) });
    return { id, version: record.manifest.version, ...result, repaired: result.damaged.length };
  } finally {
    progress.close();
  }
}

async function isCached({ id, version }) {
  const record = await ready().catalog.storedRecord(id, version);
  return Boolean(record && (await isComplete(record.manifest)));
}

async function manifest(which, context) {
  const { record, notices } = await accept(which, context);
  return summary(record, notices);
}

async function compatibility(which, context) {
  const { record } = await accept(which, context);
  return checkCompatibility(record.manifest);
}

/** `navigator.storage.persist` is for pages only in some browsers: the SDK asks there; here it answers what holds now. */
async function persist() {
  const { storage } = navigator;
  const persisted = (await storage?.persisted?.()) || (await storage?.persist?.().catch(() => false)) || false;
  return { persisted };
}

serveMemory();
serve(/** @type {any} */ (globalThis), {
  configure, manifest, pull, verify, isCached, compatibility, persist,
  models: ({ type, quantization }, { signal }) => ready().catalog.models({ type, quantization }, signal),
  cached: () => cachedModels(),
  remove: ({ id, version }) => removeById(id, version),
  clear: async () => { await clearAll(); return {}; },
  usage: () => usage(ready().limit),
});
