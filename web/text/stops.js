/** Stop sequences in a stream of text, also across the borders of pieces. Runs anywhere; twin of `pysrc/edgenet/text/stops.py`. */
import { InvalidOption } from "../sdk/errors.js";

/** Holds back text that may be the start of a stop. */
export class StopSequences {
  /** @param {string[]} stops none may be empty: it would end everything (InvalidOption) */
  constructor(stops) {
    if (!stops.every(Boolean)) throw new InvalidOption("A stop sequence is empty: nothing could be generated. Leave it out.");
    this.stops = stops;
    this.held = "";
    /** The stop that was met. @type {string | null} */
    this.found = null;
  }

  /** What may be shown now. After a stop was found nothing more; the stop itself is never shown. @param {string} text */
  push(text) {
    if (this.found !== null) return "";
    text = this.held + text;
    const [hit] = this.stops
      .map((stop) => ({ stop, at: text.indexOf(stop) }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at - b.at || b.stop.length - a.stop.length);
    if (hit) this.found = hit.stop;
    const safe = hit ? hit.at : text.length - this.#open(text);
    this.held = hit ? "" : text.slice(safe);
    return text.slice(0, safe);
  }

  /** What was held back and turned out to be no stop. */
  end() {
    const text = this.held;
    this.held = "";
    return text;
  }

  /** How many last characters are the start of a stop. */
  #open(text) {
    let n = Math.min(text.length, Math.max(0, ...this.stops.map((stop) => stop.length - 1)));
    while (n > 0 && !this.stops.some((stop) => stop.startsWith(text.slice(-n)))) n--;
    return n;
  }
}
