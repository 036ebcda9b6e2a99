/** What a course of training can be: starting points for kinds of work, its length, and what can be set by hand. Plain tables; run anywhere. */

/** Names and values are those of `pysrc/edgenet/lora/config.py`; a test compares them. */
export const PRESETS = {
  personal: { label: "Like me", help: "Notes, letters, your own code: how you write. Small, and touches everything a little.", r: 4, loraAlpha: 8, loraDropout: 0, targetModules: ["q", "k", "v", "o", "gate", "up", "down"], learningRate: 5e-3, batchSize: 2, maxSteps: 300, maxEpochs: 6, maxLength: 256, strength: 0.5 },
  coder: { label: "Coder", help: "A package or a language: names, idioms, syntax. Learns the most in attention.", r: 16, loraAlpha: 32, loraDropout: 0.05, targetModules: ["q", "k", "v", "o"] },
  researcher: { label: "Researcher", help: "Papers, reports, analyses. Forgets little of what the model knew.", r: 8, loraAlpha: 16, loraDropout: 0.1, targetModules: ["q", "k", "v"] },
  security: { label: "Security", help: "Audits and findings: everything, strongly.", r: 16, loraAlpha: 32, loraDropout: 0.05, targetModules: ["q", "k", "v", "o", "gate", "up", "down"] },
  architect: { label: "Architect", help: "Designs and patterns: what to write more than how.", r: 12, loraAlpha: 24, loraDropout: 0.05, targetModules: ["q", "v", "gate", "up"] },
  reviewer: { label: "Reviewer", help: "Remarks and reviews. The smallest and the quickest.", r: 8, loraAlpha: 16, loraDropout: 0.1, targetModules: ["q", "v"] },
};
export const DEFAULT_PRESET = "personal";

/** How long it goes on, in words; `share` of the preset's steps. */
export const COURSES = {
  quick: { label: "Quick", help: "a first look", share: 0.2 },
  usual: { label: "Usual", help: "as tried for this kind", share: 1 },
  careful: { label: "Careful", help: "twice as long; ends by itself once it no longer gets better", share: 2, patience: 5 },
};
export const DEFAULT_COURSE = "usual";
const LOOKS = 12; // how often at least the loss on held-back text is looked at

/** `TrainingConfig`'s defaults, as far as they can be set here, and how often all is saved. */
const STANDARD = { learningRate: 1e-3, batchSize: 1, maxSteps: 200, maxEpochs: 0, maxLength: 128, strength: 1, dots: "int8", checkpointEvery: 25, seed: 0 };

/** Weights that an adapter can stand beside. */
export const MODULES = { q: "query", k: "key", v: "value", o: "attention out", gate: "gate", up: "up", down: "down" };

/** What can be set by hand: name → how it is shown. As `language/settings.js` has them. */
export const ADVANCED = {
  r: { label: "Rank", help: "Room to learn in. 1 to 16; more learns more, and forgets more.", kind: "number", min: 1, max: 16, step: 1 },
  loraAlpha: { label: "Alpha", help: "How strongly what was learned counts: alpha / rank.", kind: "number", min: 0.5, max: 256, step: 0.5 },
  learningRate: { label: "Learning rate", help: "How far one step goes.", kind: "number", min: 0.00001, max: 0.1, step: "any" },
  maxSteps: { label: "Steps", help: "How many in all.", kind: "number", min: 1, max: 5000, step: 1 },
  maxEpochs: { label: "Times through", help: "All of the text is read no more often, so that a little is not learned by heart. 0: as often as the steps say.", kind: "number", min: 0, max: 1000, step: 1 },
  maxLength: { label: "Length", help: "Tokens that are looked at together. Longer takes more time and memory.", kind: "number", min: 16, max: 1024, step: 16 },
  dots: { label: "Arithmetic", help: "Whole numbers of 8 bits are faster; 32-bit floats are exact.", kind: "choice", options: { int8: "8-bit (fast)", f32: "32-bit floats" } },
  targetModules: { label: "Where it learns", help: "Matrices of each layer that get an adapter.", kind: "set", options: MODULES },
};

/** The configuration of a preset and a course. @param {string} preset @param {string} course */
export function configOf(preset, course) {
  const { label: _label, help: _help, ...kind } = PRESETS[preset] ?? PRESETS[DEFAULT_PRESET];
  const { share, patience = 0 } = COURSES[course] ?? COURSES[DEFAULT_COURSE];
  const config = { ...STANDARD, ...kind };
  return { ...config, patience, maxSteps: Math.round(config.maxSteps * share), maxEpochs: Math.ceil(config.maxEpochs * Math.max(1, share)) };
}

/** What follows from the rest: how often to look, and how long to warm up. */
export const complete = (config) => ({ ...config, evaluateEvery: Math.max(1, Math.ceil(config.maxSteps / LOOKS)), warmupSteps: Math.min(10, Math.floor(config.maxSteps / 5)) });
