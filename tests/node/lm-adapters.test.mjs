/** Adapters of requests over a played engine: the pool, the bytes, who stays and who goes, batches of different adapters. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readFactors } from "../../web/engine/lm/adapter-file.js";
import { Adapters } from "../../web/engine/lm/adapters.js";
import { Pages } from "../../web/engine/lm/pages.js";
import { PoolSpace } from "../../web/engine/lm/pool-space.js";
import { Scheduler } from "../../web/engine/lm/scheduler.js";
import { PlayedEngine, generate, prompt } from "./played-engine.mjs";

const PAGE = 4;
/** Two sites of 3 values in and 2 out. */
const SITES = [["blk.0.attn_q", 3, 2], ["blk.1.ffn_up", 3, 2]];
const BASE = "ab".repeat(32);

/** Room for `slots` adapters of rank 1 at both sites, each of which takes (4 + 4) values a site. */
const documentOf = (slots = 4, values = 16 * slots) => ({
  format: "edgenet-adapted", version: 1, base_id: BASE, sites: SITES,
  program: { sites: SITES.length, slots, values, code: SITES.map(([, width, out], site) => ["adapters", [0, 0, 0, 0, 0, 0, width, out, site], 1]) },
});

/** A safetensors file of F32 tensors [name, shape, values]. */
function file(tensors, metadata = {}, dtype = "F32") {
  let end = 0;
  const rows = tensors.map(([name, shape, values]) => [name, { dtype, shape, data_offsets: [end, (end += 4 * values.length)] }]);
  const header = new TextEncoder().encode(JSON.stringify({ __metadata__: { format: "edgenet-adapter", id: "an id", base_id: BASE, ...metadata }, ...Object.fromEntries(rows) }));
  const bytes = new Uint8Array(8 + header.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  bytes.set(new Uint8Array(Float32Array.from(tensors.flatMap(([, , values]) => values)).buffer), 8 + header.length);
  return bytes;
}

const factors = (site, rank, first) => [[`${site}.lora_a`, [rank, 3], Array.from({ length: 3 * rank }, (_, i) => first + i)], [`${site}.lora_b`, [2, rank], Array.from({ length: 2 * rank }, (_, i) => 2 * first + i)]];
/** An adapter whose numbers are its own. */
const adapter = (number, rank = 1) => file(SITES.flatMap(([site], i) => factors(site, rank, 10 * number + i)));

/** A model with its registry, engine and scheduler, `count` adapters loaded as "a0", "a1", … */
async function house({ slots, values, count = 0, ...capacity } = {}) {
  const registry = new Adapters(async () => documentOf(slots, values));
  const make = async () => {
    const engine = new PlayedEngine(capacity);
    await registry.renew(engine);
    return { engine: registry.engine, pages: new Pages({ pages: 64, page: PAGE, copy: (from, to) => engine.copy(from, to) }), played: engine };
  };
  const first = await make();
  const recover = () => registry.alone(make);
  for (let i = 0; i < count; i++) await registry.load({ id: `a${i}`, bytes: adapter(i) });
  return { registry, ...first, scheduler: new Scheduler({ ...first, recover }) };
}

/** A request with adapters, held while it runs. */
async function ask({ registry, scheduler }, wishes, request) {
  const held = await registry.acquire(wishes.map(([id, scale = 1]) => ({ id, scale })));
  return generate({ scheduler }, { ...request, held }).finally(held.release);
}

const inPool = (registry) => registry.list().adapters.filter(({ slot }) => slot >= 0).map(({ id }) => id).sort();

// --- room
/** mulberry32: the same at every run. */
function random(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

test("pool: stretches never overlap, keep their values when they are moved, and room is refused only where there is too little", () => {
  for (let seed = 0; seed < 100; seed++) {
    const [next, pool] = [random(seed), new Float32Array(100)];
    const space = new PoolSpace(100, ({ offset, size }, from) => pool.copyWithin(offset, from, from + size));
    const live = [];
    for (let step = 1; step < 80; step++) {
      if (next(3) === 0 && live.length) {
        space.give(live.splice(next(live.length), 1)[0].stretch);
      } else {
        const [size, free] = [1 + next(30), space.free];
        const stretch = space.take(size);
        assert.equal(stretch === null, size > free);
        if (!stretch) continue;
        pool.fill(step, stretch.offset, stretch.offset + size);
        live.push({ stretch, step });
      }
      for (const { stretch: { offset, size }, step: own } of live) assert.ok(pool.subarray(offset, offset + size).every((value) => value === own));
    }
  }
});

// --- bytes
const MODEL = { sites: SITES, base_id: BASE };
const [A, B] = factors("blk.0.attn_q", 2, 1);
const REFUSED = [
  ["nothing", new Uint8Array(0), "adapter_invalid"],
  ["a file cut short", adapter(1).slice(0, -1), "adapter_invalid"],
  ["bytes after the last tensor", new Uint8Array([...adapter(1), 0]), "adapter_invalid"],
  ["a header longer than the file", new Uint8Array([255, 255, 255, 255, 0, 0, 0, 0, 123]), "adapter_invalid"],
  ["an adapter's own file, not made ready", file([A, B], { format: "pt" }), "adapter_invalid"],
  ["an adapter of another base", file([A, B], { base_id: "cd".repeat(32) }), "adapter_mismatch"],
  ["an adapter that names no base", file([A, B], { base_id: "" }), "adapter_invalid"],
  ["one factor without the other", file([A]), "adapter_invalid"],
  ["a site that the model has not", file(factors("blk.9.attn_q", 1, 1)), "adapter_mismatch"],
  ["a tensor that is no factor", file([A, B, ["blk.0.attn_q", [1], [1]]]), "adapter_invalid"],
  ["a name of the language's own", file([["__proto__.lora_a", [1, 3], [1, 2, 3]], ["__proto__.lora_b", [2, 1], [1, 2]]]), "adapter_mismatch"],
  ["factors of another width", file([["blk.0.attn_q.lora_a", [1, 4], [1, 2, 3, 4]], factors("blk.0.attn_q", 1, 1)[1]]), "adapter_mismatch"],
  ["factors of two ranks", file([A, factors("blk.0.attn_q", 1, 1)[1]]), "adapter_invalid"],
  ["factors of three axes", file([["blk.0.attn_q.lora_a", [1, 3, 1], [1, 2, 3]], factors("blk.0.attn_q", 1, 1)[1]]), "adapter_invalid"],
  ["rank 0", file([["blk.0.attn_q.lora_a", [0, 3], []], ["blk.0.attn_q.lora_b", [2, 0], []]]), "adapter_invalid"],
  ["no id", file([A, B], { id: "" }), "adapter_invalid"],
  ["a rank above what the kernel takes", file(factors("blk.0.attn_q", 257, 1)), "adapter_invalid"],
  ["numbers of another kind", file([A, B], {}, "I32"), "adapter_invalid"],
  ["NaN", file([[A[0], A[1], [1, 2, NaN, 4, 5, 6]], B]), "not_finite"],
  ["an infinity", file([A, [B[0], B[1], [1, -Infinity, 2, 3]]]), "not_finite"],
  ["no factor at all", file([]), "adapter_invalid"],
];
for (const [what, bytes, code] of REFUSED) {
  test(`adapter: refused by name: ${what}`, () => {
    assert.throws(() => readFactors(bytes, MODEL), { code });
  });
}

test("adapter: factors of some sites alone, of unequal ranks, are read as they are", () => {
  const { parts, values, rank } = readFactors(file([...factors("blk.1.ffn_up", 3, 5), A, B]), MODEL);
  assert.deepEqual(parts.map(({ row, rank: own }) => [row, own]), [[1, 3], [0, 2]]);
  assert.deepEqual([values, rank, [...parts[1].b]], [12 + 8 + 8 + 4, 3, [2, 3, 4, 5]]);
});

test("adapter: no bytes at all, however damaged, are more than a named error", () => {
  const [next, whole] = [random(7), adapter(3)];
  for (let i = 0; i < 3000; i++) {
    const bytes = whole.slice(0, next(4) ? whole.length : next(whole.length));
    for (let k = next(6); k >= 0; k--) bytes[next(bytes.length || 1)] = next(256);
    try {
      readFactors(bytes, MODEL);
    } catch (error) {
      assert.ok(["adapter_invalid", "adapter_mismatch", "not_finite"].includes(error.code), error.stack);
    }
  }
});

const DAMAGED = [
  ["sites of other sizes than the Program's", { sites: [["blk.0.attn_q", 4, 2], SITES[1]] }],
  ["a site too many", { sites: [...SITES, ["blk.2.ffn_up", 3, 2]] }],
  ["one site twice", { sites: [SITES[0], [SITES[0][0], 3, 2]] }],
  ["another version", { version: 2 }],
  ["no sites", { sites: undefined }],
  ["sites that are none", { sites: [null, 5] }],
  ["no base", { base_id: undefined }],
];
for (const [what, changes] of DAMAGED) {
  test(`adapters: a model's document is refused: ${what}`, async () => {
    const [registry, engine] = [new Adapters(async () => ({ ...documentOf(), ...changes })), new PlayedEngine()];
    await registry.renew(engine);
    await assert.rejects(registry.load({ bytes: adapter(1) }), { code: "model_invalid" });
    assert.equal(engine.views, null, "nothing of it stays in the engine");
  });
}

// --- requests
const alone = (wishes, request) => house({ count: 4 }).then((own) => ask(own, wishes, request)).then(({ drawn }) => drawn);
const WISHES = [[], [["a0"]], [["a1", 0.5]], [["a2"], ["a3", -2]], [["a0", 0]], [["a3", 1]]];

test("adapters: requests of one batch with different adapters say what each says alone, and each something else", async () => {
  const own = await house({ count: 4 });
  const together = await Promise.all(WISHES.map((wishes) => ask(own, wishes, { tokens: prompt(9) })));
  const each = await Promise.all(WISHES.map((wishes) => alone(wishes, { tokens: prompt(9) })));
  assert.deepEqual(together.map(({ drawn }) => drawn), each);
  assert.equal(new Set(each.map(String)).size, WISHES.length - 1, "a scale of 0 is no adapter");
  assert.deepEqual(each[4], each[0]);
  assert.equal(own.pages.leases.size, 0);
});

test("adapters: a run without any is the plain Program's", async () => {
  const own = await house({ count: 1 });
  own.played.views = null; // whoever looks at the pool fails
  assert.equal((await generate(own)).drawn.length, 12);
});

test("adapters: a prefix is found again by who has the same adapters and scales, and by nobody else", async () => {
  const own = await house({ count: 2 });
  await own.registry.load({ id: "again", bytes: adapter(0) });
  const cached = async (...wishes) => (await ask(own, wishes, { tokens: prompt(9), maxTokens: 1 })).usage.cached;
  assert.deepEqual([await cached(["a0"]), await cached(), await cached(["a1"]), await cached(["a0", 2]), await cached(["a0"], ["a1"])], [0, 0, 0, 0, 0]);
  assert.deepEqual([await cached(["a0"]), await cached(), await cached(["again"]), await cached(["a1"], ["a0"])], [8, 8, 8, 8], "by content, in any order");
});

test("adapters: switching from request to request computes nothing anew", async () => {
  const own = await house({ count: 2 });
  for (const id of ["a0", "a1"]) await ask(own, [[id]], { tokens: prompt(9) });
  for (const id of ["a0", "a1", "a0"]) assert.equal((await ask(own, [[id]], { tokens: prompt(9) })).usage.cached, 8);
});

// --- who stays
test("adapters: who was used longest ago leaves the pool and comes back when it is asked for, with the same numbers", async () => {
  const own = await house({ slots: 2, count: 2 });
  const before = (await ask(own, [["a0"]])).drawn;
  await own.registry.load({ id: "a2", bytes: adapter(2) });
  assert.deepEqual(inPool(own.registry), ["a0", "a2"]);
  await ask(own, [["a1"]]);
  assert.deepEqual(inPool(own.registry), ["a1", "a2"]);
  own.pages.clear();
  assert.deepEqual((await ask(own, [["a0"]])).drawn, before);
});

test("adapters: one that a request holds, or that is pinned, is never evicted; a request that finds no room is told so", async () => {
  const own = await house({ slots: 2, count: 1 });
  await own.registry.load({ id: "pin", bytes: adapter(8), pinned: true });
  const held = await own.registry.acquire([{ id: "a0", scale: 1 }]);
  await assert.rejects(own.registry.load({ id: "b", bytes: adapter(9) }), { code: "adapter_pool_full" });
  held.release();
  held.release(); // counts once
  await own.registry.load({ id: "b", bytes: adapter(9) });
  assert.deepEqual(inPool(own.registry), ["b", "pin"]);
  await own.registry.acquire([{ id: "b", scale: 1 }]);
  await assert.rejects(ask(own, [["a0"]]), { code: "adapter_pool_full" });
});

test("adapters: one larger than the pool is refused and costs nobody his place", async () => {
  const own = await house({ slots: 2, count: 2 });
  await assert.rejects(own.registry.load({ id: "big", bytes: adapter(3, 8) }), { code: "adapter_pool_full" });
  assert.deepEqual(inPool(own.registry), ["a0", "a1"]);
});

test("adapters: room that lies in pieces is made one, and who was moved says the same", async () => {
  const own = await house({ slots: 6, values: 64, count: 4 });
  const before = (await ask(own, [["a3"]])).drawn;
  for (const id of ["a0", "a2"]) await own.registry.unload(id);
  await own.registry.load({ id: "wide", bytes: file(SITES.flatMap(([site]) => factors(site, 2, 3))) }); // 24 values: no gap of 16 holds them
  assert.deepEqual(inPool(own.registry), ["a1", "a3", "wide"]);
  own.pages.clear();
  assert.deepEqual((await ask(own, [["a3"]])).drawn, before);
});

test("adapters: unloading one lets requests that run with it end, and frees its room then", async () => {
  const own = await house({ count: 1 });
  const wanted = await alone([["a0"]]);
  const running = await own.registry.acquire([{ id: "a0", scale: 1 }]);
  const { free } = own.registry.list();
  const answer = generate(own, { held: running }).finally(running.release);
  await own.registry.unload("a0");
  await assert.rejects(ask(own, [["a0"]]), { code: "adapter_not_found" });
  assert.deepEqual([(await answer).drawn, own.registry.list().adapters, own.registry.list().free > free], [wanted, [], true]);
});

test("adapters: an id that is taken is another adapter from then on; the same bytes are loaded once", async () => {
  const own = await house({ count: 2 });
  const [first, same] = [own.registry.list().free, await own.registry.load({ id: "a0", bytes: adapter(0) })];
  assert.deepEqual([own.registry.list().free, same.slot], [first, 0]);
  await own.registry.load({ id: "a0", bytes: adapter(1) });
  assert.deepEqual([own.registry.list().free, (await ask(own, [["a0"]])).drawn], [first, (await ask(own, [["a1"]])).drawn]);
});

test("adapters: one that is loaded again lies in the pool again, for who pins it too", async () => {
  const own = await house({ slots: 2, count: 3 });
  assert.deepEqual(inPool(own.registry), ["a1", "a2"]);
  const { slot, pinned } = await own.registry.load({ id: "a0", bytes: adapter(0), pinned: true });
  assert.deepEqual([slot >= 0, pinned, inPool(own.registry)], [true, true, ["a0", "a2"]]);
});

test("adapters: a pinned one is no hindrance to what replaces it", async () => {
  const own = await house({ slots: 1 });
  await own.registry.load({ id: "a", bytes: adapter(0), pinned: true });
  await own.registry.load({ id: "a", bytes: adapter(1), pinned: true });
  assert.deepEqual([inPool(own.registry), own.registry.list().free], [["a"], 0]);
});

test("adapters: the id is the one given, else the name in the bytes, else their own id", async () => {
  const { registry } = await house();
  const ids = [{ id: "mine", bytes: adapter(1) }, { bytes: file([A, B], { name: "its own" }) }, { bytes: new Blob([adapter(2)]) }];
  const found = [];
  for (const given of ids) found.push((await registry.load(given)).id);
  assert.deepEqual(found, ["mine", "its own", "an id"]);
  await assert.rejects(registry.load({ id: "", bytes: adapter(1) }), { code: "invalid_option" });
});

test("adapters: one that is named twice, or that nobody loaded, is refused by name", async () => {
  const own = await house({ count: 1 });
  await assert.rejects(ask(own, [["a0"], ["a0", 2]]), { code: "invalid_option" });
  await assert.rejects(ask(own, [["nobody"]]), (error) => error.code === "adapter_not_found" && error.details.loaded.includes("a0"));
});

test("adapters: after a broken engine requests go on with the same adapters on the next one", async () => {
  const own = await house({ count: 4 });
  let runs = 0;
  own.played.before = () => { if (++runs === 5) throw new Error("trapped"); };
  const together = await Promise.all(WISHES.map((wishes) => ask(own, wishes, { tokens: prompt(9) })));
  assert.deepEqual(together.map(({ drawn }) => drawn), await Promise.all(WISHES.map((wishes) => alone(wishes, { tokens: prompt(9) }))));
  assert.deepEqual((await ask(own, [["a1"]])).drawn, await alone([["a1"]]), "one that no request held comes back too");
});

test("adapters: numbers too large fail the request that asked for them; the engine is not blamed and the others go on", async () => {
  const own = await house({ count: 2 });
  const found = await Promise.allSettled([[["a0", 50000]], [["a1"]], []].map((wishes) => ask(own, wishes, { tokens: prompt(9) })));
  assert.deepEqual(found.map(({ status, reason }) => reason?.code ?? status), ["output_not_finite", "fulfilled", "fulfilled"]);
  assert.deepEqual(found[1].value.drawn, await alone([["a1"]], { tokens: prompt(9) }));
});
