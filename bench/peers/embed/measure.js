/** What both pages measure, in the same words. */

/** @param {{open: (options: object) => Promise<any>, embed: (texts: string[]) => Promise<Float32Array>}} it */
export function offer(it) {
  window.bench = {
    /** ms from navigation to the first vector */
    async first(options, text) {
      await it.open(options);
      const vector = await it.embed([text]);
      if (vector.length !== 384) throw new Error(`a vector of ${vector.length} numbers`);
      return performance.now();
    },
    /** ms to embed all texts, `size` to a call */
    async time(texts, size) {
      const start = performance.now();
      for (let i = 0; i < texts.length; i += size) await it.embed(texts.slice(i, i + size));
      return performance.now() - start;
    },
    /** vectors of texts, each embedded alone */
    async vectors(texts) {
      const rows = [];
      for (const text of texts) rows.push(Array.from(await it.embed([text])));
      return rows;
    },
  };
}
