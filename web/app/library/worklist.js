/**
 * Runs the indexer whenever documents wait, one tab at a time, and tells other tabs what changed. Runs in the page.
 */
import { observable } from "../observable.js";
import { stopped } from "../ui/plain.js";
import { indexWaiting } from "./indexer.js";

const LOCK = "edgenet-user:index";
const CHANNEL = "edgenet-user-v1";

export class Worklist {
  /** @type {import("../observable.js").observable<{state: "idle"|"running"|"paused"|"failed", progress?: any, error?: any}>} */
  state = observable({ state: "idle" });
  #controller = null;
  #again = false;

  /** @param {import("./library.js").Library} library @param {import("../engine.js").Engine} engine */
  constructor(library, engine) {
    Object.assign(this, { library, engine });
    this.channel = new BroadcastChannel(CHANNEL);
    this.channel.onmessage = ({ data }) => library.refresh(data);
    library.addEventListener(
      "change",
      ({ detail: { changed, removed, remote } }) => !remote && this.channel.postMessage([...changed, ...removed]),
    );
  }

  /** Starts or goes on; does nothing when nothing waits. Never rejects: the state says what happened. */
  async start() {
    if (this.#controller) return void (this.#again = true);
    if (!this.library.waiting.length) return;
    const { signal } = (this.#controller = new AbortController());
    this.state.set({ state: "running", progress: null });
    try {
      await this.engine.ready();
      this.state.set({ state: "running", progress: { done: 0, of: this.library.waiting.length, share: 0 } }); // there is no moment in which nothing is told
      await navigator.locks.request(LOCK, { signal }, () =>
        indexWaiting(this.library, this.engine, { signal, onProgress: (progress) => this.state.set({ state: "running", progress }) }),
      );
      this.state.set({ state: "idle" });
    } catch (error) {
      this.state.set(signal.aborted || stopped(error) ? { state: "paused" } : { state: "failed", error });
    }
    this.#controller = null;
    const more = this.#again && this.state.value.state === "idle";
    this.#again = false;
    if (more) await this.start();
  }

  /** Stops after the batch that runs. */
  pause() {
    this.#controller?.abort();
  }
}
