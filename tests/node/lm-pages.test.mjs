/** KV pages: prefixes that are found again, and what must hold after any sequence of requests. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Pages } from "../../web/engine/lm/pages.js";

const PAGE = 4;

/** Pages whose contents are played: each page remembers the whole path (key and tokens) of every position written in it. */
class Played {
  content = new Map();

  constructor(pages) {
    this.pages = new Pages({ pages, page: PAGE, copy: (from, to) => this.content.set(to, [...(this.content.get(from) ?? [])]) });
  }

  open(key, tokens) {
    const lease = this.pages.open(key, tokens);
    return Object.assign(lease, { key, said: tokens.slice(0, lease.length) });
  }

  /** Computes tokens: false when there is no page. */
  run(lease, tokens) {
    if (!lease.reserve(lease.length + tokens.length)) return false;
    tokens.forEach((token, i) => {
      const at = lease.length + i;
      lease.said.push(token);
      const page = lease.pages[Math.floor(at / PAGE)];
      const held = this.content.get(page) ?? [];
      held[at % PAGE] = `${lease.key}:${lease.said.join(",")}`;
      this.content.set(page, held.slice(0, (at % PAGE) + 1));
    });
    lease.advance(tokens);
    return true;
  }

  /** What each page must hold, and that each is in one place. */
  check() {
    const { free, nodes, leases } = this.pages;
    const places = [...free.map((page) => [page, "free"]), ...[...nodes].map((node) => [node.page, "tree"])];
    for (const lease of leases) {
      const shared = Math.floor(lease.length / PAGE);
      places.push(...lease.pages.slice(shared).map((page) => [page, "own"]));
      for (let at = 0; at < lease.length; at++) {
        assert.equal(this.content.get(lease.pages[Math.floor(at / PAGE)])[at % PAGE], `${lease.key}:${lease.said.slice(0, at + 1).join(",")}`);
      }
    }
    assert.deepEqual(places.map(([page]) => page).sort((a, b) => a - b), Array.from({ length: this.pages.total }, (_, i) => i), "every page in exactly one place");
    const held = [...nodes].map((node) => [...leases].filter((lease) => lease.pages.slice(0, Math.floor(lease.length / PAGE)).includes(node.page)).length);
    assert.deepEqual([...nodes].map((node) => node.leases), held, "leases are counted");
  }
}

const say = (played, key, tokens) => {
  const lease = played.open(key, tokens);
  const cached = lease.length;
  assert.ok(played.run(lease, tokens.slice(cached)));
  lease.close();
  return cached;
};
const upTo = (n) => Array.from({ length: n }, (_, i) => i);

const FOUND = [
  ["the same prompt again: all but its last token", upTo(10), upTo(10), 9],
  ["a longer prompt: all that was computed", upTo(10), upTo(20), 10],
  ["a prompt that parts inside a full page: up to where it parts", upTo(8), [0, 1, 2, 3, 4, 5, 99, 98, 97], 6],
  ["a prompt of whole pages: the last page is copied, for its last token is run again", upTo(8), upTo(8), 7],
  ["another beginning: nothing", upTo(8), [9, ...upTo(8)], 0],
  ["one token: nothing", upTo(8), [0], 0],
];
for (const [what, first, second, cached] of FOUND) {
  test(`pages: ${what}`, () => {
    const played = new Played(16);
    assert.equal(say(played, "m", first), 0);
    assert.equal(say(played, "m", second), cached);
    played.check();
  });
}

test("pages: another key shares nothing, for an adapter changes the numbers", () => {
  const played = new Played(16);
  say(played, "m", upTo(8));
  assert.equal(say(played, "m+adapter", upTo(8)), 0);
});

test("pages: keys under which nothing is left are forgotten", () => {
  const played = new Played(2);
  for (let i = 0; i < 20; i++) say(played, `scale ${i}`, upTo(8));
  assert.ok(played.pages.keys <= 3, String(played.pages.keys));
  played.pages.clear();
  assert.equal(played.pages.keys, 0);
});

test("pages: two requests at once share one copy of their prefix", () => {
  const played = new Played(16);
  const [a, b] = [played.open("m", upTo(9)), played.open("m", upTo(9))];
  assert.ok(played.run(a, upTo(9)) && played.run(b, upTo(9)));
  played.check();
  assert.deepEqual(played.pages.figures, { total: 16, used: 4, shared: 2 });
  assert.deepEqual(a.pages.slice(0, 2), b.pages.slice(0, 2));
});

test("pages: what was used longest ago goes first, and never what is in use", () => {
  const played = new Played(4);
  say(played, "m", [1, 1, 1, 1]);
  const held = played.open("m", [2, 2, 2, 2, 2]);
  assert.ok(played.run(held, [2, 2, 2, 2, 2]));
  say(played, "m", [3, 3, 3, 3]);
  say(played, "m", [4, 4, 4, 4]); // takes the page of the ones
  assert.equal(played.open("m", [1, 1, 1]).length, 0);
  assert.equal(played.open("m", [3, 3, 3]).length, 2, "copied, into the page of the fours");
  assert.equal(played.open("m", [4, 4, 4]).length, 0);
  assert.equal(held.length, 5);
  played.check();
});

test("pages: clear drops what nobody uses, and no more", () => {
  const played = new Played(8);
  say(played, "m", upTo(9));
  const held = played.open("m", upTo(5));
  played.pages.clear();
  played.check();
  assert.deepEqual([played.pages.figures.used, held.length], [1, 4]);
  held.close();
  played.pages.clear();
  assert.equal(played.pages.figures.used, 0);
});

/** mulberry32: the same requests at every run. */
function random(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

test("pages: after any requests each page is in one place and holds what it should; at the end all are free", () => {
  for (let seed = 0; seed < 200; seed++) {
    const next = random(seed);
    const played = new Played(2 + next(12));
    const live = [];
    const actions = [
      () => live.push(played.open(`k${next(2)}`, Array.from({ length: 1 + next(14) }, () => next(2)))),
      () => live.length && played.run(live[next(live.length)], Array.from({ length: 1 + next(6) }, () => next(2))),
      () => live.length && live.splice(next(live.length), 1)[0].close(),
      () => next(8) || played.pages.clear(),
    ];
    for (let step = 0; step < 60; step++) {
      actions[next(actions.length)]();
      played.check();
    }
    live.forEach((lease) => lease.close());
    played.pages.clear();
    played.check();
    assert.equal(played.pages.free.length, played.pages.total);
  }
});
