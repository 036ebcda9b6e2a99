/**
 * `session.createTrainer`: teaches a loaded language model from a person's own texts, in this page. Page. The trainer is EdgeNet's Python, the engine
 * the one that generates; checkpoints and what is trained on stay in this origin's storage until the training is discarded.
 */
import { decodeText } from "../text/bytes-to-text.js";
import { InvalidOption, NotText, TextTooLarge, TrainingUnderWay } from "./errors.js";
import { checkCall } from "./options.js";
import { sampleOf } from "./routing.js";

/** Characters to train on, of all texts together; bytes that one takes in a file at most. */
const [MOST, WIDEST] = [20_000_000, 3];
const OPTIONS = ["preset", "lora", "training", "name"];
/** Kinds of events after which a state holds. @type {Record<string, TrainerState>} */
const STATES = { paused: "paused", resumed: "training" };

/**
 * @typedef {object} LoraOptions names of PEFT, in either style
 * @property {number} [r] the rank, 1 to 16 @property {number} [loraAlpha] what is learned counts `loraAlpha / r` @property {number} [loraDropout]
 * @property {string[] | "all-linear"} [targetModules] `q_proj` or short `q`: q, k, v, o, gate, up, down @property {boolean} [useRslora]
 *
 * @typedef {object} TrainingOptions
 * @property {number} [batchSize] 1 to 8 @property {number} [gradientAccumulation] @property {number} [learningRate] @property {number} [warmupSteps] @property {number} [maxSteps] @property {number} [maxEpochs] times through the data at most; 0: as steps say
 * @property {"adamw" | "sgd"} [optimizer] @property {"cosine" | "linear" | "constant"} [scheduler] @property {number} [maxLength] tokens of a row
 * @property {number} [clip] of the gradients' norm; 0: none @property {number} [weightDecay] @property {number} [momentum] @property {number} [seed]
 * @property {number} [validation] the share held back, 0 to below 1 @property {number} [patience] validations without a better one after which it stops; 0: never
 * @property {number} [evaluateEvery] @property {number} [checkpointEvery] steps; a tab that is killed loses at most so many @property {"causal" | "masked"} [objective]
 * @property {number} [maskProbability] @property {number} [strength] what the result is multiplied by @property {"int8" | "f32"} [dots] @property {boolean} [gradientCheckpointing]
 *
 * @typedef {object} TrainerOptions
 * @property {"personal" | "coder" | "researcher" | "security" | "architect" | "reviewer"} [preset] where the options start; "personal"
 * @property {LoraOptions} [lora] @property {TrainingOptions} [training] @property {string} [name] of the adapter
 *
 * @typedef {{input: string, output: string}} Pair only `output` is learned
 * @typedef {string | Pair | Blob} Example a Blob or File is read as text; each line of a .jsonl file is one example
 *
 * @typedef {{kind: "started", examples: number, parameters: number, steps: number, step: number, notices: {code: string, message: string}[]}} Started `step`: what was done before; the codes of notices are listed in docs/training.md
 * @typedef {{kind: "step", step: number, loss: number, lr: number, secondsPerStep: number, tokensPerSecond: number, etaSeconds: number}} Step
 * @typedef {{kind: "validation", step: number, loss: number, best: number}} Validation step 0: the model as it was
 * @typedef {{kind: "checkpoint", step: number}} CheckpointEvent kept in storage
 * @typedef {{kind: "paused" | "resumed"}} Steered
 * @typedef {{kind: "notice", code: string, message: string}} Notice the engine was replaced and training went back to a checkpoint; a checkpoint could not be kept; no validation was better than the first (`nothing_learned`)
 * @typedef {{kind: "done", reason: "steps" | "patience" | "cancelled", step: number}} Done
 * @typedef {Started | Step | Validation | CheckpointEvent | Steered | Notice | Done} TrainingEvent
 *
 * @typedef {{step: number, loss: number}} Point
 * @typedef {object} TrainingMetrics
 * @property {number} steps @property {Point[]} losses of the steps @property {Point[]} validations @property {number | null} lossBefore @property {number | null} lossAfter of validation
 *   where there is one, else the means of the first and the last steps, ten of each at most @property {number} samples @property {number} tokensPerSecond
 *   @property {number} secondsPerStep
 *
 * @typedef {{reason: "steps" | "patience" | "cancelled", step: number, metrics: TrainingMetrics, kept: boolean}} TrainingResult `kept`: the last checkpoint
 *   is in storage; false: storage was full, and what was learned is in this page's memory alone
 *
 * @typedef {object} UnfinishedTraining
 * @property {string} id @property {string} name @property {string} created @property {"stopped" | "done"} state "done": all steps are taken, and it was neither kept nor discarded
 * @property {number} step of the last checkpoint @property {number} steps @property {TrainingMetrics} metrics @property {any} lora @property {any} training the options, all of them
 *
 * @typedef {object} TrainedAdapter for `session.adapters.load` and `session.adapters.keep`
 * @property {string} id @property {string} run of the training @property {string} name @property {number} rank @property {string[]} modules @property {number} bytes of its factors
 * @property {TrainingMetrics} metrics @property {string[]} [sample] passages of what it learned from @property {Blob} ready as the engine takes it
 * @property {Blob} packed all of it in one file
 *
 * @typedef {{loss: number, perplexity: number, bitsPerByte: number, tokens: number, bytes: number}} EvaluationResult
 * @typedef {"new" | "training" | "paused" | "stopped" | "done"} TrainerState
 */

export class LoraTrainer {
  #session;
  #options;
  /** @type {TrainerState} */ #state;
  /** The latest `train` can be cancelled, or has ended. */ #reached = gate(true);
  /** It can be steered, or has ended. */ #begun = gate(true);

  /**
   * Not for callers: `session.createTrainer(options)`, `session.resumeTrainer(id)`.
   * @param {import("./session.js").InferenceSession} session @param {TrainerOptions | UnfinishedTraining} options
   */
  constructor(session, options) {
    const kept = /** @type {Partial<UnfinishedTraining>} */ (options);
    this.#session = session;
    this.#options = options;
    this.#state = kept.id ? /** @type {TrainerState} */ (kept.state) : "new";
    /** @type {string} */ this.id = kept.id ?? crypto.randomUUID();
    /** @type {string} */ this.name = options.name ?? "adapter";
    /** Of a training that was taken up again; null of a new one. @type {UnfinishedTraining | null} */ this.kept = kept.id ? /** @type {any} */ (options) : null;
  }

  /** @returns {TrainerState} */
  get state() { return this.#state; }

  /**
   * Trains until the last step, until validation no longer gets better, or until `cancel`. Called again, without `data`, it goes on.
   * @param {Iterable<Example> | Example} [data] @param {{onEvent?: (event: TrainingEvent) => void, signal?: AbortSignal, onProgress?: (event: import("./options.js").Progress) => void}} [options]
   *   `signal`: as `cancel`, and the call rejects with its reason @returns {Promise<TrainingResult>}
   * @throws InvalidOption, TrainingUnderWay, TooLittleData, ExampleTooLong, NotText, TrainingDiverged, CheckpointMismatch, StorageError, an EngineError; what the last checkpoint holds is kept
   */
  async train(data, options = {}) {
    checkCall(options);
    const { onEvent = () => {}, signal, onProgress } = options;
    if (data === undefined && this.#state === "new") throw new InvalidOption("A new training needs data: texts, {input, output} pairs, or files.", { option: "data" });
    this.#requireRest();
    const before = this.#state;
    this.#state = "training"; // at once: nobody else begins while files are read
    [this.#reached, this.#begun] = [gate(), gate()];
    const stop = () => { this.cancel().catch(() => {}); }; // a worker that ended is told by the call under way
    signal?.addEventListener("abort", stop, { once: true });
    /** @type {TrainingResult} */ let result;
    try {
      const given = data === undefined ? {} : { ...(await this.#read(data)), name: this.name, ...this.#chosen() };
      signal?.throwIfAborted();
      result = await this.#ask("start", given, { onEvent: this.#heard(onEvent, onProgress) });
      const left = result.step ? "stopped" : await this.#kept("stopped"); // before the first step there may be nothing
      this.#state = result.reason === "cancelled" ? left : "done";
    } catch (error) {
      this.#state = await this.#kept(before);
      throw error;
    } finally {
      this.#reached.open();
      this.#begun.open();
      signal?.removeEventListener("abort", stop);
    }
    if (result.reason === "cancelled") signal?.throwIfAborted();
    return result;
  }

  /** Stops after the run under way, until `resume` or `cancel`. The event `paused` follows. @returns {Promise<void>} */
  pause() { return this.#steer("pause", this.#begun); }

  /** @returns {Promise<void>} */
  resume() { return this.#steer("resume", this.#begun); }

  /** Ends `train` after the run under way, with a checkpoint of the last whole step; or while it makes tokens, with nothing. @returns {Promise<void>} */
  cancel() { return this.#steer("cancel", this.#reached); }

  /** What was learned so far: the parameters with the lowest validation loss, else those of the last checkpoint. @returns {Promise<TrainedAdapter>} @throws NotFound before the first `train` */
  async adapter() {
    const { ready, packed, ...about } = await this.#ask("adapter");
    return { ...about, ready: new Blob([ready]), packed: new Blob([packed]) };
  }

  /**
   * How well texts are foretold. @param {Iterable<Example> | Example} texts
   * @param {{adapter?: null | string, signal?: AbortSignal, onProgress?: (event: import("./options.js").Progress) => void}} [options] `adapter`: what this trainer
   *   learned when left out; null: none; else the id of a saved one @returns {Promise<EvaluationResult>}
   */
  async evaluate(texts, options = {}) {
    checkCall(options);
    const { adapter, signal, onProgress } = options;
    const onEvent = (/** @type {any} */ event) => onProgress?.({ name: this.#session.id, ...event });
    return this.#ask("evaluate", { data: await readExamples(texts), adapter: adapter === undefined ? { run: this.id } : adapter && { saved: adapter } }, { signal, onEvent });
  }

  /** Forgets the training and what it was trained on; what was kept of it stays. @returns {Promise<void>} @throws TrainingUnderWay */
  async discard() {
    this.#requireRest();
    const before = this.#state;
    await this.#ask("discard");
    if (this.#state === before) this.#state = "new"; // else it was begun anew meanwhile
  }

  #requireRest() {
    if (this.#state === "training" || this.#state === "paused") throw new TrainingUnderWay("This training is under way. Cancel it first; it can go on later.", { id: this.id });
  }

  /** What it learns from, and passages by which its adapter can be found again. @param {any} given */
  async #read(given) {
    const data = await readExamples(given);
    return { data, sample: sampleOf(data) };
  }

  /** What it was made with. */
  #chosen() {
    const { preset, lora, training } = /** @type {TrainerOptions} */ (this.#options);
    return { preset, lora, training };
  }

  /** @param {(event: TrainingEvent) => void} onEvent @param {((event: import("./options.js").Progress) => void) | undefined} onProgress */
  #heard(onEvent, onProgress) {
    return (/** @type {any} */ event) => {
      if (event?.kind || event?.phase === "prepare") this.#reached.open();
      if (!event?.kind) return onProgress?.({ name: this.#session.id, ...event });
      this.#state = STATES[event.kind] ?? this.#state;
      this.#begun.open();
      onEvent(event);
    };
  }

  /** A wish waits until there is somebody to hear it; of a training that is not under way nothing is to be steered. @param {string} kind @param {ReturnType<typeof gate>} until @returns {Promise<void>} */
  async #steer(kind, until) {
    await until.passed;
    if (this.#state === "training" || this.#state === "paused") await this.#ask(kind);
  }

  /** The state in which storage has it, after a failure. @param {TrainerState} before where storage does not answer @returns {Promise<TrainerState>} */
  async #kept(before) {
    const runs = await this.#session.askWorker("lm.train.runs").catch(() => null);
    return runs ? (runs.find((/** @type {UnfinishedTraining} */ { id }) => id === this.id)?.state ?? "new") : before;
  }

  /** @param {string} kind @param {any} [args] @param {import("../workers/rpc.js").CallOptions} [options] */
  #ask(kind, args, options) {
    return this.#session.askWorker(`lm.train.${kind}`, { id: this.id, ...args }, options);
  }
}

/** What can be waited for until somebody opens it. @param {boolean} [open] */
function gate(open = false) {
  let release = () => {};
  const passed = open ? Promise.resolve() : new Promise((resolve) => { release = () => resolve(undefined); });
  return { passed, open: release };
}

/** What they hold is judged when it trains. @param {any} options @throws InvalidOption for one that there is not */
export function knownOptions(options) {
  const unknown = Object.keys(Object(options)).find((name) => !OPTIONS.includes(name));
  if (options !== null && typeof options === "object" && unknown === undefined) return;
  throw new InvalidOption(`A trainer has no option "${unknown ?? options}". Options: ${OPTIONS.join(", ")}.`, { option: unknown });
}

/** @param {any} data @returns {Promise<(string | Pair | {name: string, text: string})[]>} @throws NotText, TextTooLarge */
export async function readExamples(data) {
  const one = typeof data === "string" || data instanceof Blob || typeof data?.[Symbol.iterator] !== "function";
  const given = one ? [data] : [...data];
  checkSize(given.map((example) => (example instanceof Blob ? Math.ceil(example.size / WIDEST) : sizeOf(example)))); // before a file is read
  const read = await Promise.all(given.map((example, i) => {
    if (example instanceof Blob) return textOf(example);
    if (typeof example === "string") return example;
    if (typeof example?.input === "string" && typeof example.output === "string") return { input: example.input, output: example.output };
    throw new NotText(`Example ${i + 1} is neither a text, nor {input, output} of texts, nor a file.`, { item: i });
  }));
  checkSize(read.map(sizeOf));
  return read;
}

/** Characters. @param {any} example @returns {number} */
const sizeOf = (example) => (typeof example === "string" ? example : `${example?.text ?? ""}${example?.input ?? ""}${example?.output ?? ""}`).length;

/** @param {number[]} sizes at least so many characters @throws TextTooLarge */
function checkSize(sizes) {
  const size = sizes.reduce((sum, one) => sum + one, 0);
  if (size > MOST) throw new TextTooLarge(`All that is given has ${size} characters or more; the limit is ${MOST}. Take a part of it.`, { size, limit: MOST });
}

/** @param {Blob} file */
async function textOf(file) {
  const { name = "text" } = /** @type {File} */ (file);
  return { name, text: decodeText(new Uint8Array(await file.arrayBuffer()), name).text };
}
