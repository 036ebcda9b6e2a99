/** Cutting a text at given words, the longest where several begin. Runs anywhere. */

/**
 * @typedef {{id: number, text: string, lstrip: boolean, rstrip: boolean}} Word a token that is found as it is written; the flags say
 *   whether it swallows white space before and after it
 */

/**
 * @param {Word[]} words
 * @returns {(text: string) => (string | Word)[]} texts, none empty, and the words between them
 */
export function cutter(words) {
  const root = trie(words);
  return (text) => {
    /** @type {(string | Word)[]} */
    const pieces = [];
    let start = 0;
    const keep = (piece) => piece && pieces.push(piece);
    for (let i = 0; i < text.length; ) {
      const word = longest(root, text, i);
      if (!word) {
        i++;
        continue;
      }
      const before = text.slice(start, i);
      keep(word.lstrip ? before.trimEnd() : before);
      pieces.push(word);
      start = i + word.text.length;
      if (word.rstrip) start = text.length - text.slice(start).trimStart().length;
      i = start;
    }
    keep(text.slice(start));
    return pieces;
  };
}

/** @typedef {{next: Map<number, Node>, word: Word | null}} Node */

/** @param {Word[]} words @returns {Node} whose own word is never set: an empty word is none */
function trie(words) {
  /** @type {Node} */
  const root = { next: new Map(), word: null };
  for (const word of words) {
    /** @type {Node} */
    let node = root;
    for (let i = 0; i < word.text.length; i++) {
      const unit = word.text.charCodeAt(i);
      if (!node.next.has(unit)) node.next.set(unit, { next: new Map(), word: null });
      node = /** @type {Node} */ (node.next.get(unit));
    }
    if (node !== root) node.word = word;
  }
  return root;
}

/** @param {Node} root @returns {Word | null} */
function longest(root, text, start) {
  /** @type {Word | null} */
  let found = null;
  /** @type {Node | undefined} */
  let node = root;
  for (let i = start; (node = node.next.get(text.charCodeAt(i))); i++) if (node.word) found = node.word;
  return found;
}
