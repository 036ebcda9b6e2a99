/** Which version of a model is the newest, by the same vectors as in Python. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { compareVersions } from "../../web/loader/catalog.js";

const { ascending } = JSON.parse(readFileSync(new URL("../vectors/versions.json", import.meta.url), "utf8"));

test("versions: every pair is ordered as semver says", () => {
  const all = ascending.flatMap((row, place) => row.map((version) => ({ version, place })));
  for (const a of all) for (const b of all) {
    assert.equal(Math.sign(compareVersions(a.version, b.version)), Math.sign(a.place - b.place), `${a.version} and ${b.version}`);
  }
});
