/** The engine's extra threads, as its own worker sees them. Worker only: they live where memory is shared. */
import { connect } from "../../workers/rpc.js";

/** What a run answers when a thread trapped; beside the codes of wasm/lm/lm.h. */
export const TRAPPED = 102;

export class Threads {
  /** Why one of them ended. @type {Error | null} */ death = null;
  /** @type {import("../../workers/rpc.js").Connection[]} */ #workers = [];

  /**
   * @param {string | URL} url of thread-worker.js @param {{module: WebAssembly.Module, memory: WebAssembly.Memory, plan: import("./memory.js").Plan}} engine
   * @returns {Promise<Threads>} @throws WorkerDied: no worker could be started
   */
  static async start(url, { module, memory, plan: { stacks, staging, stagingBytes } }) {
    const threads = new Threads();
    threads.#workers = stacks.map((_, i) => connect(new Worker(url, { type: "module", name: `edgenet thread ${i + 1}` }), `thread ${i + 1} of the engine`));
    try {
      await Promise.all(threads.#workers.map((worker, i) => worker.call("start", { module, memory, stack: stacks[i], staging: staging + (i + 1) * stagingBytes, thread: i + 1 })));
      return threads;
    } catch (error) {
      threads.close();
      throw error;
    }
  }

  /** All of them take jobs until none is left. @param {import("./load.js").Pour} shared */
  pour(shared) {
    return Promise.all(this.#workers.map((worker) => worker.call("pour", shared)));
  }

  /** They wait for runs from now on. @param {number} control */
  enter(control) {
    for (const worker of this.#workers) worker.call("enter", { control }).catch((error) => { this.death ??= error; });
  }

  close() {
    for (const worker of this.#workers) worker.close();
  }
}
