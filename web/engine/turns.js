/**
 * One thing at a time, the urgent first: a search typed while documents are being embedded waits for one slice, not for all of them. Runs anywhere.
 */

export class Turns {
  /** @type {{work: () => Promise<any>, resolve: Function, reject: Function, signal?: AbortSignal}[][]} urgent, ordinary */
  #waiting = [[], []];
  #busy = false;

  /**
   * @template T @param {() => Promise<T>} work @param {{urgent?: boolean, signal?: AbortSignal}} [options]
   * @returns {Promise<T>} rejects with the signal's reason if it fires before the turn comes
   */
  take(work, { urgent = false, signal } = {}) {
    return new Promise((resolve, reject) => {
      this.#waiting[urgent ? 0 : 1].push({ work, resolve, reject, signal });
      this.#next();
    });
  }

  async #next() {
    if (this.#busy) return;
    const turn = this.#waiting[0].shift() ?? this.#waiting[1].shift();
    if (!turn) return;
    this.#busy = true;
    try {
      turn.signal?.throwIfAborted();
      turn.resolve(await turn.work());
    } catch (error) {
      turn.reject(error);
    }
    await new Promise((resolve) => { setTimeout(resolve); }); // let messages in: they may be urgent, or cancel the next turn
    this.#busy = false;
    this.#next();
  }
}
