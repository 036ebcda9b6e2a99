/** Errors in plain words: what happened, what to do, the details for those who want them. Runs in the page. */
import { EdgeNetError } from "../../sdk/errors.js";
import { h } from "../dom.js";

/** code → headline. The error's own message says what to do; these say what happened, in a few words. Unlisted ones get the general line. */
const HEADLINES = {
  all_sources_failed: "The model could not be downloaded",
  network: "The network did not answer",
  offline: "You are offline and the model is not here yet",
  http_status: "The server refused a file",
  request_timeout: "The server did not answer in time",
  hash_mismatch: "A file was damaged on the way",
  signature_invalid: "The model's signature is wrong",
  key_untrusted: "The model is signed by a stranger",
  key_revoked: "The model's key was revoked",
  manifest_revoked: "This model was withdrawn",
  quota_exceeded: "There is no room left for this page",
  storage_unavailable: "This browser keeps nothing for this page",
  storage: "Saving did not work",
  worker_died: "The engine stopped",
  disposed: "The model was freed",
  engine_deadline: "The engine took too long",
  index_lost: "The engine was restarted",
  output_not_finite: "The model gave an answer that is no number",
  python_boot_failed: "The teacher could not start",
  backup_invalid: "This backup cannot be used",
  insecure_context: "This address cannot run EdgeNet",
  feature_missing: "This browser cannot run EdgeNet",
  not_text: "Not a text file",
  empty_text: "No text in it",
  text_too_large: "Too long",
  nothing_to_undo: "There is nothing to undo",
  document_not_found: "This document is gone",
  gguf_invalid: "This file is no sound model",
  unknown_architecture: "EdgeNet cannot run this kind of model",
  metadata_missing: "This file is no sound model",
  metadata_contradicts: "This file is no sound model",
  missing_tensor: "This file is no sound model",
  wrong_tensor_shape: "This file is no sound model",
  tensor_type_unsupported: "EdgeNet cannot read this quantisation",
  program_too_large: "This model is too large for a tab",
  model_too_large: "This model is too large for a tab",
  model_invalid: "This model cannot be run",
  not_supported: "This model cannot do that",
  no_model: "No model is chosen",
  no_chat_template: "This model has no chat template",
  chat_template_invalid: "The model's chat template does not work",
  chat_template_refused: "The model's chat template was stopped",
  messages_refused: "The model does not take this conversation",
  context_full: "This is longer than the model can read",
  training_data_too_little: "There is nothing to learn from",
  example_too_long: "A pair is too long",
  training_under_way: "The model is learning already",
  training_diverged: "Learning went astray",
  checkpoint_invalid: "The saved training is damaged",
  checkpoint_mismatch: "The saved training is of other texts or settings",
  rank_invalid: "This rank cannot be",
  target_module_unknown: "This model has no such matrices",
  adapter_invalid: "This file is no sound adapter",
  adapter_mismatch: "This adapter is for another model",
  adapter_unsupported: "EdgeNet cannot run this kind of adapter",
  adapter_exists: "This name is taken",
  adapter_not_found: "This adapter is gone",
  adapter_pool_full: "Too many adapters are on",
};

const STOPPED = "It was stopped, and what was finished is kept. Type again, or press the button once more, to go on.";
const UNPREPARED = "EdgeNet met something it was not prepared for. Your documents are safe. Reload the page and try again.";

/** Whether somebody asked for the stop, whichever layer says so. @param {any} error */
export const stopped = (error) => error?.code === "aborted" || error?.name === "AbortError";

/** @param {any} error */
export const headline = (error) => (stopped(error) ? "Stopped" : (HEADLINES[error?.code] ?? "Something went wrong"));

/** @param {any} error @param {...Node} actions */
export function plain(error, ...actions) {
  const known = error instanceof EdgeNetError;
  const message = stopped(error) ? STOPPED : known ? error.message : UNPREPARED;
  const details = {
    code: error?.code ?? error?.name ?? "unknown",
    ...(known ? error.details : { message: String(error?.message ?? error) }),
    ...(known ? {} : { stack: error?.stack }),
  };
  return h(
    "div.problem",
    { role: "alert" },
    h("strong", {}, headline(error)),
    h("p", {}, message),
    actions.length > 0 && h("div.actions", {}, actions),
    h("details", {}, h("summary", {}, "Details"), h("pre", {}, JSON.stringify(details, null, 2))),
  );
}
