/**
 * What a WebAssembly trap or a kernel's return code is called here. Runs anywhere. Twin of `pysrc/edgenet/kernels/codes.py`.
 * Browsers tell traps apart only by their message, so this table of patterns (V8, SpiderMonkey, JavaScriptCore) is the one place that reads one.
 */
import {
  EpochDeadline, IndirectCallTypeMismatch, IntegerOverflow, KernelError, KernelTrap, MemoryAccessViolation, StackOverflow, Unreachable,
} from "../../sdk/errors.js";

export const OK = 0;
export const CODES = ["OK", "INVALID_INPUT", "INVALID_OUTPUT", "INVALID_PARAMS", "OUT_OF_MEMORY", "NOT_IMPLEMENTED", "INTERNAL_ERROR"];
export const [, INVALID_INPUT, INVALID_OUTPUT, INVALID_PARAMS, OUT_OF_MEMORY, NOT_IMPLEMENTED, INTERNAL_ERROR] = CODES.keys();

/** @type {[RegExp, typeof KernelError][]} */
const TRAPS = [
  [/call stack|too much recursion|stack overflow/i, StackOverflow],
  [/signature mismatch|null function|indirect call|table index/i, IndirectCallTypeMismatch],
  [/unreachable/i, Unreachable],
  [/divide|division|integer overflow|unrepresentable|float to int|integer range/i, IntegerOverflow],
  [/out of bounds|out-of-bounds/i, MemoryAccessViolation],
];

/** The errors after which an instance is thrown away. */
export const isTrap = (/** @type {unknown} */ error) => TRAP_CLASSES.some((Class) => error instanceof Class);
const TRAP_CLASSES = [StackOverflow, IndirectCallTypeMismatch, Unreachable, IntegerOverflow, MemoryAccessViolation, EpochDeadline, KernelTrap];

/**
 * The named error of what a WebAssembly call threw.
 * @param {any} thrown @param {string} what @returns {Error}
 */
export function trapError(thrown, what) {
  if (thrown instanceof KernelError) return thrown;
  const Class = TRAPS.find(([pattern]) => pattern.test(thrown?.message))?.[1] ?? KernelTrap;
  return new Class(`${what} was stopped (${thrown?.message}). Its memory was thrown away; the next call starts afresh.`, { kernel: what });
}

/**
 * Raises KernelTrap for every code but OK; `details.returned` is the number.
 * @param {number} code @param {string} kernel
 */
export function raiseForCode(code, kernel) {
  if (code === OK) return;
  const name = CODES[code] ?? CODES[INTERNAL_ERROR];
  throw new KernelTrap(`The kernel "${kernel}" returned ${code} (${name}). Check shapes and that every value is finite.`, { kernel, returned: code, name });
}
