/**
 * Values between JavaScript and Python: dicts to objects, NumPy arrays to typed arrays and back. Python worker.
 */

/** A Python value as plain data; every array buffer in it is its own. @param {any} value @returns {{result: any, buffers: ArrayBuffer[]}} */
export function fromPython(value) {
  const found = copied(value);
  value?.destroy?.();
  return found;
}

/** As `fromPython`, of a value that stays Python's. @param {any} value */
export function copied(value) {
  /** @type {ArrayBuffer[]} */ const buffers = [];
  const result = value?.toJs ? value.toJs({ dict_converter: Object.fromEntries, create_pyproxies: false }) : value;
  return { result: owned(result, buffers), buffers };
}

/** Typed arrays are copied out of Python's memory. @param {any} value @param {ArrayBuffer[]} buffers @returns {any} */
function owned(value, buffers) {
  if (ArrayBuffer.isView(value)) {
    const copy = /** @type {any} */ (value).slice();
    buffers.push(copy.buffer);
    return copy;
  }
  if (Array.isArray(value)) return value.map((inner) => owned(inner, buffers));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, owned(inner, buffers)]));
}
