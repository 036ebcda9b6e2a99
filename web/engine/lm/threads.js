/** The engine's extra threads, as its own worker sees them. Worker only: they live where memory is shared. */
import { connect } from "../../workers/rpc.js";
import { CONTROL } from "./abi.js";

/** How long a load waits for threads to arrive, ms: a machine that is busy beyond that is better served by fewer. */
const PATIENCE = 5000;
const LOOK = 2;

export class Threads {
  /** Why one of them ended. @type {Error | null} */ death = null;
  /** @type {import("../../workers/rpc.js").Connection[]} */ #workers;

  /** Starts workers, which takes a while: before there is anything for them to do. @param {string | URL} url of thread-worker.js @param {number} count */
  constructor(url, count) {
    this.#workers = Array.from({ length: count }, (_, i) => connect(new Worker(url, { type: "module", name: `edgenet thread ${i + 1}` }), `thread ${i + 1} of the engine`));
  }

  get count() { return this.#workers.length; }

  /**
   * Gives each the module, a stack and staging of its own. @param {{module: WebAssembly.Module, memory: WebAssembly.Memory, plan: import("./memory.js").Plan}} engine
   * @throws WorkerDied: one could not be started
   */
  async start({ module, memory, plan: { stacks, staging, stagingBytes } }) {
    const own = (/** @type {number} */ i) => ({ module, memory, stack: stacks[i], staging: staging + 2 * (i + 1) * stagingBytes, stagingBytes, thread: i + 1 });
    await Promise.all(this.#workers.map((worker, i) => worker.call("start", own(i))));
  }

  /** All of them take jobs until none is left. @param {import("./load.js").Pour} shared */
  pour(shared) {
    return Promise.all(this.#workers.map((worker) => worker.call("pour", shared)));
  }

  /**
   * They wait for runs from now on. @param {Int32Array} words the control words
   * @returns {Promise<number>} how many came in time, from the first on; one that comes later stays without work
   */
  async enter(words, patience = PATIENCE) {
    for (const worker of this.#workers) worker.call("enter", { control: words.byteOffset }).catch((error) => { this.death ??= error; });
    let came = 0;
    for (let waited = 0; ; waited += LOOK) {
      while (came < this.count && Atomics.load(words, CONTROL.ready) >> (came + 1) & 1) came++;
      if (came === this.count || waited >= patience || this.death) return came;
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  }

  close() {
    for (const worker of this.#workers) worker.close();
  }
}
