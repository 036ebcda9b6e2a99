/** The SDK's types as a strict TypeScript project sees them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const LIB = "es2024,dom,dom.iterable,dom.asynciterable,webworker.importscripts";

test("types: a strict project compiles against the SDK, and its mistakes are found", () => {
  const options = ["--noEmit", "--strict", "--allowJs", "--skipLibCheck", "--target", "es2023", "--module", "esnext", "--moduleResolution", "bundler", "--lib", LIB, "--types", ""];
  const { stdout, status } = spawnSync(process.execPath, [here("../../node_modules/typescript/bin/tsc"), ...options, here("sdk_types.ts")], { encoding: "utf8" });
  assert.deepEqual([status, stdout], [0, ""]);
});
