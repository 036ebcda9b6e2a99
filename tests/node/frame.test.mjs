/** EdgeNet's frame against a hostile page around it: what a page may choose, and what no page may. The frame's own code; only the browser is played. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { connect } from "../../web/workers/rpc.js";
import { CONNECT } from "../../web/sdk/frame.js";
import { KINDS, serveFrame } from "../../web/sdk/frame-server.js";

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

/** [what a page asks, args, code of the answer (null: it is served), why] */
const ASKED = [
  ["loader.pull", { id: "a" }, null, "a model of the frame's own site"],
  ["hub.close", { session: "s" }, null, "what the SDK asks of the Hub"],
  ["engine.index.search", { session: "s" }, null, "what a session asks"],
  ["loader.remove", { id: "a" }, null, "one model by its name, which can be fetched again"],
  ["loader.clear", {}, "not_supported", "other pages may share this storage"],
  ["loader.pull", { url: "https://other.example/manifest.json" }, "not_supported", "our origin fetches no address of a stranger's"],
  ["loader.manifest", { id: "a", url: "/private.json" }, "not_supported", "nor one of its own that the site does not list"],
  ["python.run", { code: "1" }, "unknown_kind", "code is for EdgeNet's own tests"],
  ["lm.load", { files: {} }, "unknown_kind", "models are opened through the Hub, in workers that end with their sessions"],
  ["engine.load", { id: "a" }, "unknown_kind", "sessions are opened through the Hub, which counts them"],
  ["toString", {}, "unknown_kind", "a name that every object has"],
];
for (const [kind, args, code, why] of ASKED) {
  test(`frame: ${kind} ${JSON.stringify(args)} is ${code ? "refused" : "served"}: ${why}`, async (t) => {
    const answer = embed(t, {}).call("call", { kind, args });
    if (!code) return void (await answer);
    await assert.rejects(answer, { code });
    assert.deepEqual(PlayedWorker.asked, []);
  });
}

/** File of the SDK → the worker that it asks where it names none. */
const ASKING = [["loader", "engine"], ["session", "engine"], ["embedding-session", "engine"], ["search-index", "engine"], ["teach", "engine"], ["language-session", "lm"]];
test("frame: everything that the SDK asks is served, but for emptying the store", () => {
  const full = ASKING.flatMap(([name, worker]) => {
    const text = readFileSync(new URL(`../../web/sdk/${name}.js`, import.meta.url), "utf8");
    const asked = [...text.matchAll(/(?:ask|askAny|call)\("([\w.]+)"/g)].map(([, kind]) => kind);
    return asked.map((kind) => (/^(hub|loader|python)\./.test(kind) ? kind : `${worker}.${kind}`));
  });
  assert.ok(full.length > 30);
  assert.deepEqual(full.filter((kind) => !KINDS.has(kind)), ["loader.clear"]);
});
