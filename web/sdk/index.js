/**
 * EdgeNet's SDK: load a verified model, embed, search, teach. The one entry of `edgenet.js` and `edgenet.global.js`. Page only.
 */
export { ModelLoader, errors } from "./loader.js";
export { InferenceSession } from "./session.js";
export { EdgeNetError } from "./errors.js";
