/** Which of two versions is the newer. Pure. */

/**
 * Negative, 0 or positive by semver.org, 11, for any text of a model's `version`: parts that are no numbers count 0 before the hyphen.
 * Twin of `version_order` in `pysrc/edgenet/registry/stored.py`, and for a pack's of `version_key` in `pysrc/edgenet/kernels/pack.py`.
 * @param {string} a @param {string} b
 */
export function compareVersions(a, b) {
  const [left, right] = [versionOf(a), versionOf(b)];
  return compareLists(left.numbers, right.numbers)
    || Number(!left.marks.length) - Number(!right.marks.length) || compareLists(left.marks, right.marks);
}

const NUMBER = /^\d+$/;

/** @param {string} version */
function versionOf(version) {
  const [, core, pre = ""] = /** @type {RegExpExecArray} */ (/^([^+-]*)(?:-([^+]*))?/.exec(version));
  const marks = pre.split(".").filter(Boolean).map((part) => (NUMBER.test(part) ? Number(part) : part));
  return { numbers: core.split(".").map((part) => (NUMBER.test(part) ? Number(part) : 0)), marks };
}

/** Part by part, numbers before words; a list that goes on comes later. @param {(number | string)[]} a @param {(number | string)[]} b */
function compareLists(a, b) {
  const at = a.findIndex((part, i) => part !== b[i]);
  if (at < 0 || at >= b.length) return a.length - b.length;
  const [x, y] = [a[at], b[at]];
  if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
  return x < y ? -1 : 1;
}
