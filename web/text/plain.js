/**
 * What of a tokenizer.json is left for text that people write: none of it makes a special token. Runs anywhere; twin of `plain_config` in
 * `pysrc/edgenet/text/encode.py`.
 */

/** @param {any} tokenizerJson @param {boolean} special @returns {any[]} */
export const addedTokens = (tokenizerJson, special) => (tokenizerJson.added_tokens ?? []).filter((token) => Boolean(token.special) === special);

/** The model without special tokens in its vocabulary, and with `words` in it. BPE is not here: `Bpe` leaves them out as it is built. */
export function plainModel(model, special, words) {
  return Array.isArray(model.vocab) ? plainList(model, special, words) : plainTable(model, special, words);
}

function plainTable(model, special, words) {
  const vocab = { ...model.vocab };
  for (const text of special) if (text !== model.unk_token) delete vocab[text];
  for (const { content, id } of words) vocab[content] = id;
  return { ...model, vocab };
}

/** Ids are places in the list, so a special piece keeps its place under a name that no text has: a SentencePiece model never sees a space. */
function plainList(model, special, words) {
  const vocab = model.vocab.map(([text, score], id) => [special.has(text) ? ` ${id}` : text, score]);
  const known = new Set(vocab.map(([text]) => text));
  const extra = words.filter(({ content }) => !known.has(content)).sort((a, b) => a.id - b.id);
  return { ...model, vocab: [...vocab, ...extra.map(({ content }) => [content, 0])] };
}
