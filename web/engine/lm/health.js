/** The health check of an engine build: its kernels against the pack's vectors, before a model is loaded with it. Runs in workers and in Node. */
import { EdgeNetError, HealthCheckFailed } from "../../sdk/errors.js";
import { checkRecord } from "../kernels/health.js";
import { trapError } from "../kernels/traps.js";
import { growTo, sharedMemory } from "./memory.js";
import { instantiate, tableOf } from "./module.js";

/** What the vectors need, with room. */
const BYTES = 1 << 21;

/**
 * @param {import("./engine.js").Build} build @param {{records?: any[]}} health the pack's health.json
 * @returns {Promise<number>} how many passed @throws HealthCheckFailed: a wrong answer, or a trap
 */
export async function checkBuild({ name, module, shared }, { records = [] }) {
  const { exports, memory } = await instantiate(module, shared ? sharedMemory() : undefined);
  const base = exports.__heap_base.value;
  growTo(memory, base + BYTES);
  const engine = { exports, memory, base, table: tableOf(module) };
  for (const vector of records) {
    try {
      checkRecord(engine, vector);
    } catch (error) {
      if (error instanceof EdgeNetError) throw error;
      throw new HealthCheckFailed(`The engine build ${name} stopped in the kernel "${vector.kernel}": ${trapError(error, vector.kernel).message}`, { kernel: vector.kernel, build: name });
    }
  }
  return records.length;
}
