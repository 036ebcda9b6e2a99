/**
 * Byte-pair encoding of one word into token ids: the merge of lowest rank first, of equals the leftmost. Runs anywhere.
 * Ours, because the library needs seconds where a SentencePiece model takes a whole text as one word; with a heap it is n log n.
 */
import { idsOf } from "./decode.js";

const REMEMBERED = 20000; // words whose tokens are kept: most of a text's words return
const LONGEST_REMEMBERED = 64; // characters
const PLACES = 2 ** 30; // a heap's entry is rank * PLACES + place, so that numbers order it

/** The `model` of a tokenizer.json, of type BPE. */
export class Bpe {
  /**
   * @param {any} model `vocab` text → id; `merges`, pairs of texts, the lowest rank first
   * @param {Iterable<string>} [never] tokens that no text becomes and no merge makes @param {Map<string, number>} [ids] text → id, its own from now on
   */
  constructor(model, never = [], ids = idsOf(model)) {
    this.vocab = ids;
    this.base = 1; // above every id
    for (const id of ids.values()) if (id >= this.base) this.base = id + 1;
    this.ignoreMerges = model.ignore_merges ?? false;
    this.unknown = this.vocab.get(model.unk_token);
    this.fuse = model.fuse_unk ?? false;
    this.bytes = model.byte_fallback ? byteTokens(this.vocab) : null;
    for (const text of never) this.vocab.delete(text);
    /** Left id * base + right id → rank. @type {Map<number, number>} */
    this.ranks = new Map();
    /** Rank → id of the whole. @type {number[]} */
    this.wholes = [];
    for (const merge of model.merges) this.#learn(typeof merge === "string" ? merge.split(" ") : merge);
    /** @type {Map<string, number[]>} */
    this.known = new Map();
  }

  #learn([left, right]) {
    const [a, b, whole] = [this.vocab.get(left), this.vocab.get(right), this.vocab.get(left + right)];
    if (a === undefined || b === undefined || whole === undefined) return;
    this.ranks.set(a * this.base + b, this.wholes.push(whole) - 1);
  }

  /** @param {string} word @returns {number[]} */
  encode(word) {
    const whole = this.ignoreMerges ? this.vocab.get(word) : undefined;
    if (whole !== undefined) return [whole];
    const known = this.known.get(word);
    if (known) return known;
    const ids = this.#merge(this.#symbols(word));
    if (this.known.size >= REMEMBERED) this.known.clear();
    if (word.length <= LONGEST_REMEMBERED) this.known.set(word, ids);
    return ids;
  }

  /** The ids of single characters; of one that is no token its bytes', else the unknown token's. */
  #symbols(word) {
    /** @type {number[]} */
    const ids = [];
    for (const character of word) {
      const id = this.vocab.get(character);
      if (id !== undefined) ids.push(id);
      else if (this.bytes) for (const byte of utf8.encode(character)) ids.push(this.bytes[byte]);
      else if (this.unknown !== undefined && !(this.fuse && ids.at(-1) === this.unknown)) ids.push(this.unknown);
    }
    return ids;
  }

  /** @param {number[]} ids changed in place: a symbol merged into the one before it becomes -1 */
  #merge(ids) {
    const next = ids.map((_, i) => i + 1);
    const before = ids.map((_, i) => i - 1);
    /** @type {number[]} */
    const heap = [];
    const rankAt = (i) => (i >= 0 && next[i] < ids.length ? this.ranks.get(ids[i] * this.base + ids[next[i]]) : undefined);
    const offer = (i) => {
      const rank = rankAt(i);
      if (rank !== undefined) push(heap, rank * PLACES + i);
    };
    for (let i = 0; i + 1 < ids.length; i++) offer(i);
    while (heap.length) {
      const entry = pop(heap);
      const [rank, i] = [Math.floor(entry / PLACES), entry % PLACES];
      if (ids[i] < 0 || rankAt(i) !== rank) continue; // one of the two was merged meanwhile
      const gone = next[i];
      [ids[i], ids[gone], next[i]] = [this.wholes[rank], -1, next[gone]];
      if (next[i] < ids.length) before[next[i]] = i;
      offer(before[i]);
      offer(i);
    }
    return ids.filter((id) => id >= 0);
  }
}

const utf8 = new TextEncoder();

/** The ids of `<0x00>` to `<0xFF>`, or null when one is missing: then bytes are no way out. */
function byteTokens(vocab) {
  const ids = Array.from({ length: 256 }, (_, byte) => vocab.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`));
  return ids.includes(undefined) ? null : ids;
}

/** @param {number[]} heap the smallest first @param {number} value */
function push(heap, value) {
  let i = heap.push(value) - 1;
  for (let parent; i > 0 && heap[(parent = (i - 1) >> 1)] > value; i = parent) heap[i] = heap[parent];
  heap[i] = value;
}

/** @param {number[]} heap not empty */
function pop(heap) {
  const [smallest, last] = [heap[0], /** @type {number} */ (heap.pop())];
  if (!heap.length) return smallest;
  let i = 0;
  for (let child = 1; child < heap.length; child = 2 * i + 1) {
    if (child + 1 < heap.length && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= last) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = last;
  return smallest;
}
