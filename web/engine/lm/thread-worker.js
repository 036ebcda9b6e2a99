/**
 * One extra thread of the engine: the module again, on the same memory, with a stack of its own. It helps to load weights, then waits inside
 * WebAssembly for runs. It decides nothing.
 */
import { serve } from "../../workers/rpc.js";
import { trapError } from "../kernels/traps.js";
import { CONTROL, TRAPPED } from "./abi.js";
import { pour } from "./load.js";
import { instantiate } from "./module.js";

/** @type {{exports: any, memory: WebAssembly.Memory, staging: number, stagingBytes: number}} */ let engine;
let number = 0;

/**
 * A thread that trapped never comes to the barrier where the others wait, so its host stands in for it: with a failure, which all leave with.
 * As `meet` in wasm/lm/threads.c does it. @param {Int32Array} words of control
 */
function standIn(words) {
  Atomics.compareExchange(words, CONTROL.code, 0, TRAPPED);
  if (Atomics.add(words, CONTROL.arrived, 1) + 1 < (words[CONTROL.run] & 15)) return;
  Atomics.store(words, CONTROL.outcome, Atomics.load(words, CONTROL.code));
  Atomics.store(words, CONTROL.arrived, 0);
  Atomics.add(words, CONTROL.passed, 1);
  Atomics.notify(words, CONTROL.passed);
}

/** @type {Record<string, import("../../workers/rpc.js").Handler>} */
const handlers = {
  async start({ module, memory, stack, staging, stagingBytes, thread }) {
    engine = { ...(await instantiate(module, memory)), staging, stagingBytes };
    engine.exports.__stack_pointer.value = stack;
    number = thread;
  },
  pour: (shared) => pour(shared, engine),
  /** Answers only if the thread is let go, or with its trap. */
  enter({ control }) {
    try {
      engine.exports.thread_main(control, number);
    } catch (error) {
      standIn(new Int32Array(engine.memory.buffer, control, CONTROL.bytes / 4));
      throw trapError(error, `Thread ${number} of the engine`);
    }
  },
};

serve(/** @type {any} */ (self), handlers);
