/**
 * One progress that never falls, out of what several workers say. Page.
 */

/** @typedef {import("./options.js").Progress} Progress */

/**
 * Hands events on with `name` set and `progress` (0 to 100) never below what was said before in the same operation; remarks that are no
 * progress (fallbacks, notices) are left out, they have events of their own.
 * @param {string} name the model's id
 * @param {((event: Progress) => void)[]} listeners
 * @returns {(event: any) => void}
 */
export function progressTo(name, listeners) {
  let top = 0;
  let bytes = { loaded: 0, total: 0 };
  return (event) => {
    if (!event?.phase) return;
    if (event.total) bytes = { loaded: event.loaded, total: event.total };
    top = Math.max(top, event.progress ?? (bytes.total ? (100 * bytes.loaded) / bytes.total : 0));
    for (const listener of listeners) listener({ ...bytes, name, ...event, progress: top });
  };
}
