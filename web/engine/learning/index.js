/** The learning API: adapters that learn in the moment. `await init(url)` once, then make as many as needed. Runs in page, worker and Node. */
export { init } from "./host.js";
export { MicroLoRA, MicroLoRA as WasmMicroLoRA } from "./microlora.js";
export { CATEGORIES, SCOPES, ScopedLoRA, ScopedLoRA as WasmScopedLoRA } from "./scoped.js";
export { TrajectoryBuffer, TrajectoryBuffer as WasmTrajectoryBuffer } from "./trajectory.js";
