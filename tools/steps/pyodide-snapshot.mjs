// Makes Pyodide's memory snapshot: node pyodide-snapshot.mjs PYODIDE_FOLDER TARGET MODULE,MODULE,…
// Booting from it takes under a second instead of seven. Everything that differs between two runs (clock, entropy, paths) is pinned
// first, so that two builds give identical bytes; the worker reseeds `random` after boot. No secret is ever made in that interpreter.
import fs from 'node:fs';
import nodeCrypto from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [, , folder, target, modules] = process.argv;
const EPOCH = 1767225600000;
let state = 1;

/** Fill a view with the bytes of a fixed linear congruential sequence. */
const fill = (view) => {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return view;
};

const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...parts) { super(...(parts.length ? parts : [EPOCH])); }
  static now() { return EPOCH; }
};
performance.now = () => 0;
process.hrtime = Object.assign(() => [0, 0], { bigint: () => 0n });
process.argv[1] = '/snapshot';
Object.defineProperty(globalThis.crypto, 'getRandomValues', { value: fill });
nodeCrypto.randomFillSync = fill;
nodeCrypto.randomBytes = (count) => fill(Buffer.alloc(count));

const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
const python = await loadPyodide({ _makeSnapshot: true, env: { PYTHONHASHSEED: '0', HOME: '/home/pyodide' } });
python.runPython(`import ${modules}\nrandom.seed(0)`);
fs.writeFileSync(target, python.makeMemorySnapshot());
