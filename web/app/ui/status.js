/** The status line: threads, SIMD, isolation, network, storage, each with its reason in a dialog. Runs in the page. */
import { fill, h } from "../dom.js";
import { bytes } from "../format.js";
import { runningOf } from "../language/report.js";
import { dialog } from "./dialog.js";

const SIMD = { relaxed: "relaxed SIMD", simd128: "SIMD", scalar: "no SIMD" };
const ENGINE = {
  idle: "engine not started",
  loading: "engine loading",
  ready: "engine ready",
  failed: "engine failed",
  cancelled: "engine not started",
};

/** Phase of the language model → what the line says; null: nothing. */
const LANGUAGE = { idle: null, cancelled: null, loading: "language model loading", ready: "language model ready", failed: "language model failed" };

/** @param {any} app */
export function statusLine(app) {
  const line = h("span.items");
  const element = h(
    "footer.status",
    {},
    h(
      "button.quiet",
      { type: "button", title: "What these mean, and why", "aria-label": "Status of the engine: explain", onclick: () => explain(app) },
      line,
    ),
    h("span.private", {}, "Nothing leaves this tab"),
  );
  const draw = async () => {
    const status = await app.status();
    const phase = app.engine.phase.value.name;
    const items = [
      [phase, ENGINE[phase]],
      LANGUAGE[app.language.phase.value.name] && ["", LANGUAGE[app.language.phase.value.name]],
      [status.threads > 1 ? "ready" : "", `${status.threads} ${status.threads === 1 ? "thread" : "threads"}`],
      ["", SIMD[status.simd]],
      [status.isolated ? "" : "warn", status.isolated ? "isolated" : "not isolated"],
      ["", navigator.onLine ? "online" : "offline"],
    ].filter(Boolean);
    fill(
      line,
      items.map(([state, text]) => h(`span.item${state && `.${state}`}`, {}, text)),
    );
  };
  const follow = (phase, name) =>
    phase.watch((now) => {
      if (now.name === element.dataset[name]) return;
      element.dataset[name] = now.name;
      draw();
    });
  follow(app.engine.phase, "phase");
  follow(app.language.phase, "language");
  addEventListener("online", draw);
  addEventListener("offline", draw);
  app.remarks.watch(draw);
  return element;
}

async function explain(app) {
  const status = await app.status();
  const memory = app.engine.session?.getMemoryInfo();
  const storage = await navigator.storage?.estimate?.().catch(() => null);
  const persisted = await navigator.storage?.persisted?.().catch(() => false);
  const rows = [
    [
      "Engine",
      ENGINE[app.engine.phase.value.name],
      "The model runs in a worker of this tab. It starts with your first note or search, and from its saved copy after that.",
    ],
    [
      "Threads",
      status.threads,
      status.threads > 1
        ? "The model computes on several cores."
        : status.isolated
          ? "One is used where there are at most two cores: a second was no faster when measured."
          : "Several need an isolated page; see below.",
    ],
    [
      "SIMD",
      SIMD[status.simd],
      status.simd === "relaxed"
        ? "The fastest instructions a browser offers."
        : "This browser lacks relaxed SIMD; plain instructions are used.",
    ],
    [
      "Isolated",
      status.isolated ? "yes" : "no",
      status.isolated
        ? "The page shares memory with nobody, so the browser allows threads."
        : "The headers for isolation (COOP and COEP) did not arrive, from the server or from the service worker. Search works, on one thread.",
    ],
    [
      "Network",
      navigator.onLine ? "online" : "offline",
      navigator.serviceWorker?.controller
        ? "The page itself is saved and opens without a network."
        : "The page is not saved for use without a network yet. Reload it once.",
    ],
    memory && [
      "Memory",
      bytes(memory.modelBytes + memory.wasmBytes + memory.indexBytes),
      `Model and engine ${bytes(memory.modelBytes + memory.wasmBytes)}, index of your notes ${bytes(memory.indexBytes)}.`,
    ],
    storage && [
      "Storage",
      bytes(storage.usage ?? 0),
      `${persisted ? "The browser promised to keep it." : "The browser may clear it when the disk is full; a backup is in the Library tab."} Room for this page: ${bytes(storage.quota ?? 0)}.`,
    ],
  ].filter(Boolean);
  const language = runningOf(app.language);
  const remarks = [...new Map([...(status.reasons ?? []), ...app.remarks.value].map((remark) => [remark.code, remark])).values()];
  dialog(
    "How it runs here",
    explanation(rows),
    language.length > 0 && h("section", {}, h("h3", {}, "The language model"), explanation(language)),
    remarks.length > 0 &&
      h(
        "section",
        {},
        h("h3", {}, "What was said since the page opened"),
        h(
          "ul",
          {},
          remarks.map(({ reason }) => h("li", {}, reason)),
        ),
      ),
  );
}

/** What each thing is, and why. @param {[name: string, value: string | number, why: string][]} rows */
export const explanation = (rows) =>
  h(
    "dl.explain",
    {},
    rows.map(([name, value, why]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("strong", {}, value), h("span", {}, why)))),
  );
