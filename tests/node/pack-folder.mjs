/** A compiled and signed test pack: made by Python once per test run, removed at exit. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { Worker as Thread } from "node:worker_threads";

if (process.versions.node.startsWith("20.")) {
  setFlagsFromString("--experimental-wasm-relaxed-simd"); // later versions have it by default
  setFlagsFromString("--no-liftoff"); // whose baseline compiler forgets what i32x4.relaxed_dot adds to
}

const root = fileURLToPath(new URL("../../", import.meta.url));
const python = [process.env.EDGENET_PYTHON, join(root, ".build/venv/bin/python"), join(root, ".build/venv/Scripts/python.exe")].find((path) => path && existsSync(path)) ?? "python3";

export const folder = mkdtempSync(join(tmpdir(), "edgenet-pack-"));
execFileSync(python, [join(root, "tests/kernel_pack.py"), folder], { stdio: "inherit" });
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

export const bytes = (name) => new Uint8Array(readFileSync(join(folder, name)));
export const json = (name) => JSON.parse(readFileSync(join(folder, name), "utf8"));

/** `fetch` from the folder; `changed` gives other bytes (or null: not found) by name. */
export const fetchFrom = (changed = {}) => async (url) => {
  const name = String(url).replace(/^pack:\//, "");
  const data = name in changed ? changed[name] : existsSync(join(folder, name)) ? bytes(name) : null;
  return new Response(data, { status: data ? 200 : 404 });
};

/** A Node thread with the face of a browser's Worker. */
export function kernelWorker() {
  const thread = new Thread(new URL("./kernel-worker-host.mjs", import.meta.url));
  const wrapped = new Map();
  return {
    postMessage: (message, transfer) => thread.postMessage(message, transfer),
    terminate: () => thread.terminate(),
    addEventListener(type, listener) {
      const emit = (value) => listener(type === "message" ? { data: value } : { message: value?.message });
      wrapped.set(listener, emit);
      if (type !== "close") thread.on(type, emit);
    },
    removeEventListener: (type, listener) => thread.off(type, wrapped.get(listener)),
  };
}
