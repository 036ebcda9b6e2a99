/** The table of failures holds what can happen: each class is raised by our code in one of the two languages, or groups others. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const ROOT = new URL("../../", import.meta.url);
const read = (path) => readFileSync(new URL(path, ROOT), "utf8");
const { errors } = JSON.parse(read("tests/vectors/errors.json"));
const TABLES = new Set(["pysrc/edgenet/errors.py", "web/sdk/errors.js"]);
const files = ["pysrc/", "web/", "tools/"].flatMap((folder) => readdirSync(new URL(folder, ROOT), { recursive: true }).map((name) => folder + name));
const code = files.filter((name) => /\.(py|js)$/.test(name) && !name.includes("node_modules") && !TABLES.has(name)).map(read).join("\n");
const words = new Set(code.match(/\w+/g));
const groups = new Set(errors.map(({ parent }) => parent));

test("errors: no class is in the table that nothing raises", () => {
  assert.ok(words.has("EdgeNetError") && errors.length > 60);
  assert.deepEqual(errors.map(({ name }) => name).filter((name) => !words.has(name) && !groups.has(name)), []);
});
