// The worker protocol over a real MessageChannel.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NotCached, WorkerDied } from "../../web/sdk/errors.js";
import { connect, serve, transferring } from "../../web/workers/rpc.js";

/** Runs `use(connection)` against handlers, then closes both ends. */
async function withServer(handlers, use) {
  const { port1, port2 } = new MessageChannel();
  const server = serve(port1, handlers);
  const connection = connect(port2, "test worker");
  try {
    return await use(connection, port1);
  } finally {
    connection.close();
    server.close();
    port1.close();
  }
}
const never = () => new Promise(() => {});

test("a call gets its own answer, whatever the order", () => withServer({
  slow: async ({ x }) => { await new Promise(setImmediate); return x; },
  fast: ({ x }) => x,
}, async ({ call }) => {
  assert.deepEqual(await Promise.all([call("slow", { x: 1 }), call("fast", { x: 2 }), call("slow", { x: 3 })]), [1, 2, 3]);
}));

test("events come in order before the answer", () => withServer({
  count: ({ n }, { emit }) => { for (let i = 0; i < n; i++) emit(i); return "done"; },
}, async ({ call }) => {
  const seen = [];
  assert.equal(await call("count", { n: 3 }, { onEvent: (event) => seen.push(event) }), "done");
  assert.deepEqual(seen, [0, 1, 2]);
}));

test("an error crosses as the same class with its details", () => withServer({
  fail: () => { throw new NotCached("not here", { root: "ab" }); },
}, async ({ call }) => {
  await assert.rejects(call("fail"), (error) => error instanceof NotCached && error.code === "not_cached" && error.details.root === "ab");
}));

test("an unknown kind is an error, also one that objects have by nature", () => withServer({ real: () => 1 }, async ({ call }) => {
  for (const kind of ["nothing", "toString"]) await assert.rejects(call(kind), { code: "unknown_kind" });
}));

test("an answer that cannot be cloned is an error, not silence", () => withServer({ bad: () => () => {} }, async ({ call }) => {
  await assert.rejects(call("bad"), { code: "internal" });
}));

test("arguments that cannot be cloned reject at once", () => withServer({ real: () => 1 }, async ({ call }) => {
  await assert.rejects(call("real", { f() {} }), { name: "DataCloneError" });
}));

test("buffers move both ways", () => withServer({
  double: ({ a }) => { const out = a.map((v) => v * 2); return transferring(out, [out.buffer]); },
}, async ({ call }) => {
  const a = new Float32Array([1, 2, 3]);
  const out = await call("double", { a }, { transfer: [a.buffer] });
  assert.deepEqual([...out], [2, 4, 6]);
  assert.equal(a.length, 0); // moved away
}));

test("abort rejects at once with the signal's reason, and the handler's signal fires", () => {
  let fired;
  const handlerStopped = new Promise((resolve) => { fired = resolve; });
  return withServer({
    wait: (_, { signal }) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => { fired(true); reject(signal.reason); })),
  }, async ({ call }) => {
    const controller = new AbortController();
    const waiting = call("wait", {}, { signal: controller.signal });
    controller.abort();
    await assert.rejects(waiting, { name: "AbortError" });
    assert.equal(await handlerStopped, true);
  });
});

test("an aborted signal sends nothing", () => withServer({ real: () => assert.fail("was called") }, async ({ call }) => {
  await assert.rejects(call("real", {}, { signal: AbortSignal.abort() }), { name: "AbortError" });
}));

test("closing rejects everything that waits, and later calls", () => withServer({ wait: never }, async (connection) => {
  const waiting = [connection.call("wait"), connection.call("wait")];
  connection.close();
  for (const call of waiting) await assert.rejects(call, WorkerDied);
  await assert.rejects(connection.call("wait"), WorkerDied);
  assert.equal(connection.closed, true);
}));

test("a port whose other side closes rejects everything that waits", () => withServer({ wait: never }, async (connection, port) => {
  const waiting = connection.call("wait");
  port.close();
  await assert.rejects(waiting, (error) => error instanceof WorkerDied && /test worker/.test(error.message));
}));

test("a worker's error event rejects everything that waits", async () => {
  const target = Object.assign(new EventTarget(), { postMessage() {}, terminate() { this.ended = true; } });
  const connection = connect(target, "engine worker");
  const waiting = connection.call("x");
  target.dispatchEvent(Object.assign(new Event("error"), { message: "out of memory" }));
  await assert.rejects(waiting, (error) => error instanceof WorkerDied && /out of memory/.test(error.message));
  assert.equal(target.ended, true);
});
