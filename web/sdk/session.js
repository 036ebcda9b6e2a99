/**
 * InferenceSession: a person's handle on a loaded model, of whatever type. Page. What a model cannot do is refused by name here; the kinds of
 * sessions (embedding-session.js, language-session.js) have what it can.
 */
import { Disposed, NotSupported, NotText } from "./errors.js";

/** @typedef {{modelBytes: number, wasmBytes: number, indexBytes: number, kvCacheBytes: number, arenaBytes?: number, pages?: {total: number, used: number, shared: number}}} MemoryInfo bytes */
/** @typedef {{text: string, start: number, end: number, tokens: number}} Passage `start` and `end` in UTF-16 units of the text split */
/** @typedef {{signal?: AbortSignal, onProgress?: (event: import("./options.js").Progress) => void}} CallOptions */
/** @typedef {{A: Float32Array, B: Float32Array, alpha: number}} Adapter A is d×r, B r×d, row by row */
/** @typedef {import("./generate-options.js").GenerateOptions} GenerateOptions @typedef {import("./generate-options.js").Message} Message */
/** @typedef {import("./language-session.js").Completion} Completion @typedef {import("./language-session.js").Input} Input */
/** @typedef {import("./stream.js").PieceStream<Completion>} CompletionStream */
/** @typedef {{file: Blob, name?: string} | {url: string | URL} | {files: Iterable<Blob> | Record<string, Blob>}} LocalSource a model that no site publishes; see local-model.js */

/** Who makes loaders: loader.js says so when it is loaded, for that module needs this one. @type {{loader: (options: any) => import("./loader.js").ModelLoader}} */
export const maker = {
  loader() { throw new NotSupported("Import EdgeNet's edgenet.js, not one of its parts."); },
};

export class InferenceSession {
  #loader;
  #own = false;
  #disposed = false;
  /** @type {MemoryInfo} */ #memory;

  /** Not for callers: `loader.load(id)` or `InferenceSession.create(id)`. @param {import("./loader.js").ModelLoader} loader @param {any} opened the Hub's answer */
  constructor(loader, opened) {
    this.#loader = loader;
    this.#memory = opened.memory;
    /** @type {string} */ this.handle = opened.session;
    /** @type {string} */ this.id = opened.id;
    /** @type {string} */ this.version = opened.version;
    /** @type {string} */ this.type = opened.type;
    /** Length of its vectors; 0 for a model that makes none. @type {number} */ this.dimensions = opened.dimensions ?? 0;
    /** Longest text, or prompt and answer together, in tokens. @type {number} */ this.maxTokens = opened.maxTokens;
    /** @type {any} */ this.manifest = opened.manifest;
    /** "signed", or "unsigned" for a file of the user's own. @type {string} */ this.trust = opened.trust;
  }

  /**
   * A session with a loader of its own, which ends with it: an `EmbeddingSession` or a `LanguageSession`, as the model's type says.
   * @param {string | LocalSource} model an id of the site, or a file, address or folder of the user's own
   * @param {import("./options.js").ModelLoaderOptions & import("./loader.js").LoadOptions} [options] `threads` goes to both
   * @returns {Promise<InferenceSession>}
   */
  static async create(model, { version, context, dtype, signal, onProgress, ...options } = {}) {
    const loader = maker.loader(options);
    try {
      const session = await loader.load(model, { version, context, dtype, signal, onProgress });
      session.#own = true;
      return session;
    } catch (error) {
      loader.dispose();
      throw error;
    }
  }

  /** What this session's model can do beyond `dispose` and `getMemoryInfo`. @type {readonly string[]} */
  get operations() { return []; }

  // --- refused unless the kind of session has its own
  /** @param {string} text @param {CallOptions} [options] @returns {Promise<Float32Array>} d */
  async embed(text, options) { return this.refuse("embed"); }
  /** @param {string[]} texts @param {CallOptions} [options] @returns {Promise<Float32Array[]>} n of d */
  async embedBatch(texts, options) { return this.refuse("embedBatch"); }
  /** @param {string} a @param {string} b @param {CallOptions} [options] @returns {Promise<number>} */
  async similarity(a, b, options) { return this.refuse("similarity"); }
  /** @param {string} text @param {{maxTokens?: number, overlap?: number, signal?: AbortSignal}} [options] @returns {Promise<Passage[]>} */
  async split(text, options) { return this.refuse("split"); }
  /** @template {string | string[]} T @param {T} texts @returns {Promise<T extends string ? number : number[]>} */
  async countTokens(texts) { return this.refuse("countTokens"); }
  /** @param {Adapter | null} adapter @returns {Promise<void>} */
  async setAdapter(adapter) { return this.refuse("setAdapter"); }
  /** @returns {import("./search-index.js").SearchIndex} */
  get index() { return this.refuse("index"); }
  /** @returns {import("./teach.js").Teach} */
  get teach() { return this.refuse("teach"); }
  /** @param {string} prompt @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {Promise<string>} */
  async generate(prompt, options, call) { return this.refuse("generate"); }
  /** @param {string} prompt @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {CompletionStream} */
  generateStream(prompt, options, call) { return this.refuse("generateStream"); }
  /** @param {Message[]} messages @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {Promise<string>} */
  async chat(messages, options, call) { return this.refuse("chat"); }
  /** @param {Message[]} messages @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {CompletionStream} */
  chatStream(messages, options, call) { return this.refuse("chatStream"); }
  /** @param {Input} input @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {Promise<Completion>} */
  async complete(input, options, call) { return this.refuse("complete"); }
  /** @param {Input} input @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {CompletionStream} */
  stream(input, options, call) { return this.refuse("stream"); }
  /** @param {string} text @param {{special?: boolean}} [options] @returns {Promise<number[]>} */
  async encode(text, options) { return this.refuse("encode"); }
  /** @param {number[]} tokens @returns {Promise<string>} */
  async decode(tokens) { return this.refuse("decode"); }
  /** @returns {import("./adapters.js").SessionAdapters} */
  get adapters() { return this.refuse("adapters"); }
  /** @param {import("./trainer.js").TrainerOptions} [options] @returns {import("./trainer.js").LoraTrainer} */
  createTrainer(options) { return this.refuse("createTrainer"); }
  /** @returns {Promise<import("./trainer.js").UnfinishedTraining[]>} */
  async trainers() { return this.refuse("trainers"); }
  /** @param {string} id @returns {Promise<import("./trainer.js").LoraTrainer>} */
  async resumeTrainer(id) { return this.refuse("resumeTrainer"); }
  /** @returns {Promise<void>} */
  async clearKVCache() { return this.refuse("clearKVCache"); }

  /** Bytes as of the last answer. @returns {MemoryInfo} */
  getMemoryInfo() {
    return { ...this.#memory };
  }

  /** Whether it was disposed: by its owner, or for another model's room. */
  get disposed() { return this.#disposed; }

  /** Frees the model's memory; with `create`, ends the workers. Safe to call twice. */
  async dispose() {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#loader.touched(this, true);
    if (this.#own) this.#loader.dispose();
    else await this.#loader.ask("hub.close", { session: this.handle });
  }

  /** What is kept about this model in the page is put back; called once, after loading. @returns {Promise<void>} */
  async restore() {}

  /**
   * One call for this session. @param {string} kind with its worker's name @param {any} [args] @param {import("../workers/rpc.js").CallOptions} [options]
   * @returns {Promise<any>}
   */
  async askWorker(kind, args = {}, options = {}) {
    const answer = await this.askAny(kind, { session: this.handle, ...args }, options);
    if (answer?.memory) this.remember(answer.memory);
    return answer;
  }

  /** @param {MemoryInfo} memory */
  remember(memory) {
    this.#memory = memory;
  }

  /** One call to any worker, refused after `dispose`. @param {string} kind @param {any} [args] @param {import("../workers/rpc.js").CallOptions} [options] */
  async askAny(kind, args, options) {
    if (this.#disposed) throw new Disposed(`This session of ${this.id} was disposed. Load the model again.`);
    this.#loader.touched(this, false);
    return this.#loader.ask(kind, args, options);
  }

  /** Removes a file that was made here, also after `dispose`; with its loader it is gone already. @param {string} made */
  async giveBack(made) {
    await this.#loader.ask("hub.discard", { made }).catch((error) => { if (!(error instanceof Disposed)) throw error; });
  }

  /**
   * Another model, open for one piece of work. @template T @param {LocalSource} source @param {(session: any) => Promise<T>} work
   * @param {import("./loader.js").LoadOptions} [options] @returns {Promise<T>}
   */
  beside(source, work, options) { return this.#loader.aside(source, work, options); }

  /** Says a notice through the loader. @param {string} code @param {string} reason */
  notice(code, reason) {
    this.#loader.dispatchEvent(new CustomEvent("notice", { detail: { status: "notice", code, reason } }));
  }

  /** @param {string} operation @returns {never} @throws NotSupported */
  refuse(operation) {
    throw new NotSupported(`${operation} is not possible with ${this.id}, a model of type "${this.type}". It can: ${this.operations.join(", ") || "nothing that this version knows"}.`, { operation, type: this.type });
  }
}

/** @param {any[]} values @returns {string[]} @throws NotText */
export function strings(values) {
  const bad = Array.isArray(values) ? values.findIndex((value) => typeof value !== "string") : 0;
  if (bad >= 0) throw new NotText(`A text must be a string; item ${bad} is ${Array.isArray(values) ? typeof values[bad] : "not in a list"}.`, { item: bad });
  return values;
}
