/**
 * Patience with one worker: when it is asked and says nothing for too long it is ended, and what waits rejects with EngineDeadline. Page and frame.
 * Calls queue inside a worker, so any sign of life counts for all of them; every event and every answer is one.
 */
import { EngineDeadline } from "./errors.js";

/** @typedef {import("../workers/rpc.js").Connection} Connection @typedef {import("../workers/rpc.js").CallOptions} CallOptions */

export class Patience {
  /** Signs of life so far. */
  #signs = 0;
  /** Whether it ended the worker. */
  over = false;

  /** @param {Connection} connection @param {{name: string, limit: number}} options `limit` in ms of silence */
  constructor(connection, { name, limit }) {
    this.connection = connection;
    this.name = name;
    this.limit = limit;
  }

  /** As `connection.call`. @param {string} kind @param {any} args @param {CallOptions} [options] @returns {Promise<any>} */
  async call(kind, args, options = {}) {
    const onEvent = (/** @type {any} */ event) => {
      this.#signs++;
      options.onEvent?.(event);
    };
    const timer = this.#watch();
    try {
      return await this.connection.call(kind, args, { ...options, onEvent });
    } finally {
      this.#signs++;
      clearInterval(timer);
    }
  }

  #watch() {
    const step = Math.min(this.limit / 4, 5000);
    let [seen, silent] = [this.#signs, 0];
    return setInterval(() => {
      silent = this.#signs === seen ? silent + step : 0; // ticks, not the clock: a machine that slept has not been waiting
      seen = this.#signs;
      if (silent < this.limit) return;
      this.over = true;
      this.connection.close(new EngineDeadline(`The ${this.name} said nothing for ${this.limit / 1000} s and was stopped. It is started again from the cache.`, { limit: this.limit }));
    }, step);
  }
}
