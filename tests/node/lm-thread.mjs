/** A thread of the engine in Node: the module on the shared memory, a stack of its own, waiting for runs. Says "left" when it is let go. */
import { parentPort, workerData } from "node:worker_threads";

const { module, memory, stack, control, number } = workerData;
const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
exports.__stack_pointer.value = stack;
parentPort.postMessage("ready");
exports.thread_main(control, number);
parentPort.postMessage("left");
