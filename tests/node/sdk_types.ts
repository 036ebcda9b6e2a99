// A strict project's use of the SDK; sdk_types.test.mjs compiles it. Nothing here runs.
import { CreateMLCEngine, InferenceSession, LanguageSession, ModelLoader, ModelWorker, ModelWorkerPool, Wllama, openAI } from "../../web/sdk/index.js";

const loader = new ModelLoader({ threads: 2 });
const session: InferenceSession = await loader.load("x", { context: 64, dtype: "q4" });
const text: string = await session.generate("a", { maxTokens: 3, stopSequences: "x" }, { signal: AbortSignal.timeout(5) });
for await (const piece of session.generateStream(text)) piece.length.toFixed();
const { usage, reason } = await session.stream({ prompt: "x" }).result;
const cached: number = usage.cached;
const why: "stop" | "length" | "context" | "abort" = reason;
const vector: Float32Array = await session.embed("x");
const own = await loader.load({ file: new File([], "x.gguf") });
if (own instanceof LanguageSession) own.info.architecture.toUpperCase();
const worker = new ModelWorker();
const [{ id, text: answer }] = await worker.batch([{ id: "1", prompt: "x" }]);
const pool = new ModelWorkerPool({ workers: 4, model: "x" });
const together: string[] = await Promise.all([pool.generate("1"), pool.generate("2")]);
const engine = await CreateMLCEngine("x", { initProgressCallback: ({ progress }) => progress.toFixed() });
await engine.chat.completions.create({ messages: [] });
await new Wllama({ default: "" }).loadModelFromUrl("x");
await openAI(() => session).completions.create({ prompt: "x" });
const trainer = session.createTrainer({ preset: "personal", lora: { r: 4 }, training: { maxSteps: 9 }, name: "mine" });
const { metrics } = await trainer.train(["x", { input: "a", output: "b" }, new Blob()], { onEvent: (event) => { if (event.kind === "step") event.etaSeconds.toFixed(); } });
const saved = await session.adapters.keep(await trainer.adapter(), { metrics });
await session.adapters.load({ saved: saved.id });
session.adapters.router = { embedder: () => loader.load("y"), threshold: 0.2 };
session.adapters.use("auto", { embedder: session });
const [{ name, score }] = await session.adapters.route("x", { signal: AbortSignal.timeout(5) });
const { routed } = await session.complete({ prompt: "x" }, { adapters: "auto" });
const likeness: number | undefined = routed?.score;
const examples: string[] | undefined = (await session.adapters.describe(saved.id, ["x"])).profile?.examples;
// @ts-expect-error a router without an embedding model
session.adapters.router = { threshold: 0.2 };
// @ts-expect-error a preset that is none
session.createTrainer({ preset: "best" });
// @ts-expect-error an option of another library
await session.generate("x", { max_tokens: 4 });
// @ts-expect-error a prompt that is no text
await session.generate(5);
export { answer, cached, examples, id, likeness, name, score, together, vector, why };
