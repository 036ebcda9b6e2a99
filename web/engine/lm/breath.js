/**
 * A macrotask between two pieces of work, so that messages (a cancel, a new request) are heard. A MessageChannel's comes at once; a timer's
 * would wait 4 ms. Who asks first goes on first. Runs in a worker and in Node.
 */

/** @returns {() => Promise<void>} */
export function breather() {
  const { port1, port2 } = new MessageChannel();
  /** @type {(() => void)[]} */ const waiting = [];
  const next = () => {
    waiting.shift()?.();
    if (!waiting.length) port1.onmessage = null; // a port that listens keeps Node alive
  };
  return () => new Promise((resolve) => {
    waiting.push(resolve);
    port1.onmessage = next;
    port2.postMessage(null);
  });
}
