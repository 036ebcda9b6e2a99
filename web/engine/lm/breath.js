/**
 * A macrotask between two pieces of work, so that messages (a cancel, a new request) are heard. A MessageChannel's comes at once; a timer's
 * would wait 4 ms. Runs in a worker and in Node.
 */

/** @returns {() => Promise<void>} */
export function breather() {
  const { port1, port2 } = new MessageChannel();
  return () => new Promise((resolve) => {
    port1.onmessage = () => {
      port1.onmessage = null; // a port that listens keeps Node alive
      resolve();
    };
    port2.postMessage(null);
  });
}
