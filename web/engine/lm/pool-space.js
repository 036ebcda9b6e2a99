/**
 * Room in an engine's pool: each owner has one stretch, in the first gap that is large enough; where only all gaps together are, what lies behind
 * moves up. Pure bookkeeping in values of f32; runs anywhere.
 */

/** @typedef {{offset: number, size: number}} Stretch in values; `offset` changes when it is moved */

export class PoolSpace {
  /** @type {Stretch[]} in the order of their offsets */ #held = [];

  /** @param {number} values in all @param {(stretch: Stretch, from: number) => void} moved its values are to be copied from `from`, its offset before; never over what is still to be moved */
  constructor(values, moved) {
    this.values = values;
    this.moved = moved;
  }

  /** Values that nobody holds. */
  get free() { return this.#held.reduce((left, { size }) => left - size, this.values); }

  /** @param {number} size @returns {Stretch | null} null: so much is not free */
  take(size) {
    if (size > this.free) return null;
    return this.#gap(size) ?? (this.#close(), this.#gap(size));
  }

  /** @param {Stretch} stretch */
  give(stretch) {
    this.#held = this.#held.filter((other) => other !== stretch);
  }

  /** @param {number} size @returns {Stretch | null} */
  #gap(size) {
    let end = 0;
    const next = this.#held.findIndex(({ offset, size: taken }) => {
      if (offset - end >= size) return true;
      end = offset + taken;
      return false;
    });
    if (next < 0 && this.values - end < size) return null;
    const stretch = { offset: end, size };
    this.#held.splice(next < 0 ? this.#held.length : next, 0, stretch);
    return stretch;
  }

  /** All gaps become one, at the end. */
  #close() {
    let end = 0;
    for (const stretch of this.#held) {
      const from = stretch.offset;
      stretch.offset = end;
      end += stretch.size;
      if (from !== stretch.offset) this.moved(stretch, from);
    }
  }
}
