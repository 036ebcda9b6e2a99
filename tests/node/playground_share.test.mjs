/** Code in a link: comes back whole, a damaged link gives nothing, a long one is refused. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test from "node:test";
import { fromHash, toHash } from "../../web/playground/share.js";

for (const [what, code] of Object.entries({ empty: "", "other letters": "print('äöü 🦊 \u0000')\n", "much of the same": "x = 1\n".repeat(20_000) })) {
  test(`code comes back from its link: ${what}`, async () => {
    const hash = await toHash(code);
    assert.match(hash, /^code=[\w-]*$/, "nothing that an address would escape");
    assert.equal(await fromHash(`#${hash}`), code);
  });
}

test("a link without code, cut off or changed gives none", async () => {
  const whole = await toHash("print('a line of some length, so that there is something to cut')");
  for (const hash of ["", "#", "#search", "#code=", "#code=%%%", `#${whole.slice(0, -8)}`, "#code=AAAA"]) {
    assert.equal(await fromHash(hash), null, hash);
  }
});

test("code that is too long for a link is refused, and such a link is not read", async () => {
  await assert.rejects(toHash(randomBytes(80_000).toString("base64")), RangeError);
  assert.equal(await fromHash(`#code=${"A".repeat(200_000)}`), null);
});
