/** The kernel worker inside a Node thread: what a browser calls `self` is Node's parent port. */
import { parentPort } from "node:worker_threads";

globalThis.self = parentPort;
await import("../../web/engine/kernel-worker.js");
