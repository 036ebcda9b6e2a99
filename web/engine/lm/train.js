/**
 * Worker kinds by which another worker trains in this one's engine: Programs beside the loaded one, their buffers, their runs. A run is synchronous,
 * so it and the scheduler's never overlap; between two the event loop has its turn, and with it who generates. Worker and Node.
 */
import { transferring } from "../../workers/rpc.js";

/** @typedef {Pick<import("./model.js").Model, "engine" | "breath" | "recover">} Host */

/** @param {() => Host} host the loaded model; its engine may be another after a recovery @returns {Record<string, import("../../workers/rpc.js").Handler>} */
export const trainKinds = (host) => ({
  "lm.add": ({ programs }) => host().engine.add(programs),
  "lm.drop": ({ names }) => host().engine.drop(names),
  "lm.write": ({ program, name, array, first }) => host().engine.programs.write(name, array, program, first),
  "lm.read"({ program, name }) {
    const array = host().engine.programs.read(name, program);
    return transferring(array, [array.buffer]);
  },
  "lm.run": ({ program, slots = {} }, { signal }) => run(host(), program, slots, signal),
});

/**
 * A run that somebody else's cancel ended is run again: nothing of it counted.
 * @param {Host} host @param {string | undefined} program @param {Record<string, number>} slots @param {AbortSignal} signal
 * @throws the signal's reason; InvalidOption; KernelTrap. After any other error another engine has been started, which knows nothing of what was added
 */
async function run(host, program, slots, signal) {
  for (;;) {
    await host.breath();
    signal.throwIfAborted();
    const { engine } = host;
    try {
      if (engine.step(program, slots)) return;
    } catch (error) {
      if (isBroken(error)) await host.recover(error); // throws it where no other build is left
      throw error;
    }
  }
}

/** Whether it is the engine's end, not a refusal. @param {any} error */
const isBroken = ({ code, details }) => code !== "invalid_option" && details?.returned === undefined;
