/**
 * The worker of one language model: loads it, answers prompts, embeds texts. Module worker; it holds nobody else's model, fetches no model byte,
 * and keeps no text beside the tokens of its cache.
 */
import { InvalidOption, NoModel, NotSupported, WorkerDied } from "../../sdk/errors.js";
import { serve, transferring } from "../../workers/rpc.js";
import { tokenizeChat } from "../../text/chat.js";
import { TextTokenizer } from "../../text/tokenizer.js";
import { embed } from "./embed.js";
import { evaluate } from "./evaluate.js";
import { generate } from "./generate.js";
import { readSources } from "./load.js";
import { Model, openFiles } from "./model.js";
import { trainKinds } from "./train.js";

/** @type {any} */ let config = null;
/** @type {{model: Model, tokenizer: TextTokenizer, generation: any} | null} */ let loaded = null;
/** Between signs of life, in ms: far less than anybody's patience. */
const BEAT = 1000;
let [loading, ending] = [false, false];
/** What happens outside of one call's own work is said in the latest call that is under way. @type {Set<(event: any) => void>} */
const listeners = new Set();
const emit = (/** @type {any} */ event) => [...listeners].at(-1)?.(event);

function current() {
  if (!loaded) throw new NoModel("No model is loaded in this worker. Call lm.load first.", {});
  return loaded;
}

/** @param {"scheduler" | "dimensions"} part @param {string} what */
function able(part, what) {
  const { model } = current();
  if (!(part === "scheduler" ? model.scheduler : model.engine.dimensions)) throw new NotSupported(`${model.engine.program.name} cannot ${what}. ${part === "scheduler" ? "It is an encoder: it embeds texts." : "It generates text; load an encoder."}`, {});
  return current();
}

function describe() {
  const { model, model: { engine }, generation } = current();
  return {
    name: generation.name ?? engine.program.name, architecture: generation.architecture, parameters: generation.parameters, context: engine.capacity.context,
    vocabulary: engine.vocabulary, dimensions: engine.dimensions, threads: engine.threads, build: engine.build.name, isolated: globalThis.crossOriginIsolated === true, why: model.why,
    memory: model.memory(), chat: Boolean(generation.chatTemplate),
  };
}

/** @type {Record<string, import("../../workers/rpc.js").Handler>} */
const handlers = {
  async "lm.load"(args, { signal }) {
    if (!config) throw new NoModel("The worker was not configured.", {});
    if (loaded || loading) throw new InvalidOption("This worker holds a model already: one worker, one model. Dispose it, or start another worker.", { option: "id" });
    loading = true;
    try {
      loaded = await load(args, signal);
    } finally {
      loading = false;
    }
    return { ...describe(), abort: loaded.model.engine.abortWord }; // for the Hub alone: shared memory cannot cross to another origin
  },
  async "lm.generate"(args, context) {
    const { model, ...rest } = able("scheduler", "generate");
    return generate({ ...rest, key: model.setting.files.hash, adapters: model.adapters, scheduler: /** @type {any} */ (model.scheduler) }, args, context);
  },
  async "lm.embed"({ texts }, { signal, emit: say }) {
    const { model, tokenizer } = able("dimensions", "embed");
    const lists = texts.map((/** @type {string} */ text) => tokenizer.encode(text, { around: true }));
    const onProgress = (/** @type {number} */ done) => say({ status: "progress", phase: "embed", loaded: done, total: texts.length, progress: (100 * done) / texts.length });
    const vectors = await embed(model, lists, { signal, onProgress });
    return transferring({ vectors, tokens: lists.map((/** @type {number[]} */ list) => list.length) }, [vectors.buffer]);
  },
  "lm.encode": ({ text, special = false }) => ({ tokens: current().tokenizer.encode(text, { special }) }),
  "lm.decode": ({ tokens }) => ({ text: current().tokenizer.decode(tokens) }),
  async "lm.logits"({ tokens, adapters = [] }, { signal }) {
    const { model, model: { pages, breath } } = able("scheduler", "tell logits");
    const held = await model.adapters.acquire(adapters);
    const logits = await evaluate({ engine: model.adapters.engine, pages, breath }, tokens, { signal, adapters: held.mix }).finally(held.release);
    return transferring(logits, [logits.buffer]);
  },
  "lm.adapters.load": (args) => able("scheduler", "take adapters").model.adapters.load(args),
  "lm.adapters.unload": ({ id }) => able("scheduler", "take adapters").model.adapters.unload(id),
  "lm.adapters.list": () => able("scheduler", "take adapters").model.adapters.list(),
  "lm.adapters.base": () => able("scheduler", "take adapters").model.adapters.base(),
  async "lm.source"({ ranges }) {
    const { model: { setting: { files }, engine } } = current();
    return { ...(await readSources(files.sources, ranges)), capacity: engine.program.capacity };
  },
  ...trainKinds(() => current().model),
  "lm.serve": ({ port }, context) => lend(port, context),
  "lm.memory": () => current().model.memory(),
  "lm.clear"() {
    current().model.pages?.clear();
  },
  "lm.status": () => ({ ...current().model.scheduler?.figures, ...describe() }),
  "lm.dispose"() {
    loaded?.model.dispose();
    loaded = null;
  },
};

/** What Python may ask while it trains, on a port of its own. @type {Record<string, import("../../workers/rpc.js").Handler>} */
const lent = {
  ...Object.fromEntries(["lm.add", "lm.drop", "lm.write", "lm.read", "lm.run", "lm.encode", "lm.source"].map((kind) => [kind, handlers[kind]])),
  /** Texts and chats, many in one message. `counts`: of each one's tokens. */
  "lm.tokens"({ asked }) {
    const { tokenizer, generation } = current();
    const lists = JSON.parse(asked).map((/** @type {any} */ one) => (typeof one === "string" ? tokenizer.encode(one) : tokenizeChat(tokenizer, generation, one)));
    const [ids, counts] = [Int32Array.from(lists.flat()), Int32Array.from(lists, (/** @type {number[]} */ list) => list.length)];
    return transferring({ ids, counts }, [ids.buffer, counts.buffer]);
  },
  "lm.generation": () => JSON.stringify(current().generation), // as text: Python's None is no null
};

/**
 * Serves them until it is cancelled; what was added and never dropped, because Python died, goes then. It is under way all the while, and a sign of life
 * in every beat: who runs nothing for long is no dead engine.
 * @param {MessagePort} port @param {import("../../workers/rpc.js").Context} context
 */
function lend(port, { signal, emit: say }) {
  /** @type {Set<string>} */ const added = new Set();
  const noting = {
    ...lent,
    async "lm.add"(args, context) {
      await lent["lm.add"](args, context);
      for (const name of Object.keys(args.programs)) added.add(name);
    },
  };
  const served = serve(port, Object.fromEntries(Object.entries(noting).map(([kind, handler]) => [kind, alive(handler)])));
  const beat = setInterval(() => say({ status: "alive" }), BEAT);
  return new Promise((resolve) => signal.addEventListener("abort", () => {
    clearInterval(beat);
    served.close();
    port.close();
    for (const name of added) dropped(name);
    resolve(undefined);
  }, { once: true }));
}

/** @param {string} name of a Program, which may be gone */
function dropped(name) {
  try {
    loaded?.model.engine.drop([name]);
  } catch (error) {
    if (/** @type {any} */ (error).code !== "invalid_option") throw error;
  }
}

/** @param {any} args of `lm.load` @param {AbortSignal} signal */
async function load({ threads, without, context, ...which }, signal) {
  const files = await openFiles(which);
  try {
    checkContext(files, context);
    /** @type {TextTokenizer | undefined} */ let tokenizer;
    const meanwhile = () => { tokenizer ??= new TextTokenizer(files.tokenizer); };
    const model = await Model.open({ files, urls: config.urls, threads, without, emit, signal, lost: end, meanwhile });
    if (signal.aborted) { // too late to be heard on the way: nobody waits for it any more
      model.dispose();
      throw signal.reason;
    }
    return { model, tokenizer: /** @type {TextTokenizer} */ (/** @type {unknown} */ (tokenizer)), generation: files.generation };
  } catch (error) {
    files.release();
    throw error;
  }
}

/** Ends this worker once what waits has been rejected. */
function end() {
  ending = true;
  setTimeout(() => self.close());
}

/** A context is planned by the Program; it can only be known here, not changed. @param {any} files @param {number} [context] */
function checkContext({ program: { capacity } }, context) {
  if (context === undefined || context === capacity?.context) return;
  throw new InvalidOption(`The model was compiled for a context of ${capacity?.context} tokens; ${context} were asked for. Leave the option out, or compile its file anew with that context.`, { option: "context", context });
}

/** Refused once this worker ends. @param {import("../../workers/rpc.js").Handler} handler @returns {import("../../workers/rpc.js").Handler} */
const alive = (handler) => (args, context) => {
  if (ending) throw new WorkerDied("The engine of this worker broke and it is ending. Call again: the model is loaded in a new one.", {});
  return handler(args, context);
};

/** Every handler's events, also for what it did not start itself. @param {import("../../workers/rpc.js").Handler} handler @returns {import("../../workers/rpc.js").Handler} */
const heard = (handler) => async (args, context) => {
  listeners.add(context.emit);
  try {
    return await alive(handler)(args, context);
  } finally {
    listeners.delete(context.emit);
  }
};

serve(/** @type {any} */ (self), {
  configure(given) { config = given; },
  ...Object.fromEntries(Object.entries(handlers).map(([kind, handler]) => [kind, heard(handler)])),
});
