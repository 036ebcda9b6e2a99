/**
 * EdgeNet's SDK: load a verified model, embed, search, teach, generate, chat. The one entry of `edgenet.js` and `edgenet.global.js`. Page only.
 */
export { ModelLoader, errors } from "./loader.js";
export { InferenceSession } from "./session.js";
export { EmbeddingSession } from "./embedding-session.js";
export { LanguageSession } from "./language-session.js";
export { ModelWorker, ModelWorkerPool } from "./model-worker.js";
export { openAI } from "./openai.js";
export { CreateMLCEngine, MLCEngine } from "./webllm.js";
export { Wllama } from "./wllama.js";
export { EdgeNetError } from "./errors.js";
