/** EdgeNet's frame against a hostile page around it: what a page may choose, and what no page may. The frame's own code; only the browser is played. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../../web/workers/rpc.js";
import { CONNECT } from "../../web/sdk/frame.js";
import { serveFrame } from "../../web/sdk/frame-server.js";

const ORIGIN = "https://models.example";

/** Answers every call with {} and keeps what it was asked. */
class PlayedWorker extends EventTarget {
  static asked = [];

  postMessage({ id, kind, args }) {
    PlayedWorker.asked.push({ kind, args });
    const result = kind === "rpc.alive" ? null : {};
    queueMicrotask(() => this.dispatchEvent(Object.assign(new Event("message"), { data: { id, result } })));
  }

  terminate() {}
}

/** A page around the frame that posts these options. @returns {import("../../web/workers/rpc.js").Connection} */
function embed(t, options) {
  const page = { postMessage() {} };
  const frame = new EventTarget();
  const played = {
    parent: page, window: frame, Worker: PlayedWorker, document: { querySelector: () => null, baseURI: `${ORIGIN}/embed.html` },
    location: new URL(`${ORIGIN}/embed.html`), addEventListener: frame.addEventListener.bind(frame),
  };
  const before = Object.fromEntries(Object.keys(played).map((name) => [name, globalThis[name]]));
  Object.assign(globalThis, played);
  PlayedWorker.asked = [];
  serveFrame();
  const { port1, port2 } = new MessageChannel();
  frame.dispatchEvent(Object.assign(new Event("message"), { data: { type: CONNECT, options }, source: page, origin: "https://host.example", ports: [port2] }));
  const connection = connect(port1);
  t.after(() => { connection.close(); port2.close(); Object.assign(globalThis, before); });
  return connection;
}

const configured = () => PlayedWorker.asked.filter(({ kind }) => kind === "configure").map(({ args }) => args);

test("frame: a page's harmless options reach the workers; code for tests and addresses do not", async (t) => {
  const frame = embed(t, { download: { parallel: 2 }, testing: { runCode: true }, urls: { trust: "https://host.example/trust.json" } });
  await frame.call("call", { kind: "python.boot", args: {} });
  const [{ urls, options }] = configured();
  assert.deepEqual([options.download.parallel, options.testing.runCode, urls.trust], [2, false, `${ORIGIN}/trust.json`]);
});

for (const worker of ["loader", "engine", "python"]) {
  test(`frame: a page cannot tell the ${worker} worker whom to believe`, async (t) => {
    const frame = embed(t, {});
    const args = { urls: { trust: "https://host.example/trust.json", pyodide: "https://host.example/", ort: "https://host.example/" }, options: { testing: { runCode: true } } };
    await assert.rejects(frame.call("call", { kind: `${worker}.configure`, args }), { code: "unknown_kind" });
    assert.deepEqual(configured(), []);
  });
}
