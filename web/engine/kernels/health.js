/** Health vectors of a pack: run them, compare with the references' answers. Runs anywhere. Twin of `pysrc/edgenet/kernels/health.py`. */
import { HealthCheckFailed } from "../../sdk/errors.js";
import { fromBase64 } from "../../trust/bytes.js";
import { outputType, runRecord } from "./records.js";
import { OK } from "./traps.js";

const VIEWS = { f32: Float32Array, i32: Int32Array, u32: Uint32Array };
const decode = (/** @type {string} */ text, dtype = "f32") => new VIEWS[dtype](fromBase64(text).buffer);

/**
 * Whether two arrays agree: integers exactly; floats within `tolerance` of the largest finite magnitude, NaN and infinities in equal places.
 * @param {ArrayLike<number>} got @param {any} want @param {number} tolerance
 */
export function close(got, want, tolerance) {
  if (got.length !== want.length) return false;
  const allowed = tolerance * want.reduce((m, v) => (Number.isFinite(v) ? Math.max(m, Math.abs(v)) : m), 0) + 1e-44;
  const isFloat = want instanceof Float32Array;
  return want.every((v, i) => Object.is(got[i], v) || (isFloat && Number.isFinite(v) && Math.abs(got[i] - v) <= allowed));
}

/** @param {any} vector @param {string} what */
const failed = (vector, what) => new HealthCheckFailed(`Kernel "${vector.kernel}", case "${vector.reason}": ${what}. The pack is not used.`, { kernel: vector.kernel, reason: vector.reason });

/** Raises HealthCheckFailed unless code and outputs are the reference's. */
function compare(vector, code, expected, got, dtypes) {
  if (code !== vector.code) throw failed(vector, `returned ${code}, the reference ${vector.code}`);
  for (const [name, text] of Object.entries(expected)) {
    if (!close(got[name], decode(text, dtypes[name]), vector.tolerance)) throw failed(vector, `${name} differs from the reference by more than ${vector.tolerance}`);
  }
}

/**
 * Runs one vector of an engine kernel. Raises HealthCheckFailed.
 * @param {import("./host.js").KernelHost} host @param {any} vector
 */
export function checkVector(host, vector) {
  const layout = host.layout(vector.kernel);
  const values = {};
  for (const [name, kind, dtype] of layout) {
    if (!(name in vector.values)) continue;
    const array = decode(vector.values[name], dtype);
    values[name] = kind === "value" ? array[0] : array;
  }
  const { code, outputs } = host.call(vector.kernel, values);
  compare(vector, code, code === OK ? vector.outputs : {}, outputs, Object.fromEntries(layout.map(([name, , dtype]) => [name, dtype])));
}

/**
 * Runs one vector of a language-model kernel. Raises HealthCheckFailed.
 * @param {import("./records.js").RecordEngine} engine @param {any} vector
 */
export function checkRecord(engine, vector, threads = 1) {
  const { code, outputs } = runRecord(engine, vector, threads);
  const dtypes = Object.fromEntries(Object.keys(vector.outputs).map((name) => [name, outputType(engine.table, vector.kernel, name)]));
  compare(vector, code, vector.outputs, Object.fromEntries(Object.entries(outputs).map(([name, data]) => [name, new VIEWS[dtypes[name]](data.buffer)])), dtypes);
}

/**
 * Runs every engine vector; answers how many passed. Raises HealthCheckFailed; what a trap raises passes through.
 * @param {import("./host.js").KernelHost} host @param {{vectors: any[], records?: any[]}} health
 */
export function checkHost(host, { vectors, records = [] }) {
  vectors.forEach((vector) => checkVector(host, vector));
  records.forEach((vector) => checkRecord(host.records(), vector));
  return vectors.length + records.length;
}

/**
 * Runs every vector of the extension kernels in `ids`; answers how many passed.
 * @param {{run: Function}} runner a KernelRunner @param {{extensions: any[]}} health @param {Set<string>} ids
 */
export async function checkExtensions(runner, health, ids) {
  const vectors = health.extensions.filter((vector) => ids.has(vector.kernel));
  for (const vector of vectors) {
    const call = { params: fromBase64(vector.params), a: decode(vector.a), b: decode(vector.b), out: decode(vector.out), scratch: vector.scratch };
    const { code, out, scratch } = await runner.run(vector.kernel, call);
    compare(vector, code, vector.expected, { out: new Float32Array(out.buffer), scratch: new Float32Array(scratch.buffer) }, {});
  }
  return vectors.length;
}
