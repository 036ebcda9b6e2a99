/** The playground's entry: an editor whose Python runs in this tab, by PyScript. Page. Nothing runs before somebody says Run. */
import { fill, h, icon } from "../app/dom.js";
import { gate } from "../app/ui/gate.js";
import { themeButton } from "../app/ui/theme.js";
import { updateBar } from "../app/ui/update.js";
import { controlled, startServiceWorker } from "../sdk/isolation.js";
import { editor } from "./editor.js";
import { EXAMPLES, exampleCode } from "./examples.js";
import { output } from "./output.js";
import { fromHash, toHash } from "./share.js";
import { startPython } from "./start.js";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const theme = themeButton(); // colours first
const update = updateBar();

/** Code by tab, as it was left. @type {Map<string, string>} */ const drafts = new Map();
/** @type {string} */ let tab = EXAMPLES[0].id;
/** @type {Promise<import("./start.js").Python> | null} */ let python = null;
let running = false;

const edit = editor({ onRun: run, onInput: (code) => drafts.set(tab, code) });
const out = output({ goTo: (line) => edit.goTo(line) });
const status = h("p.state", { role: "status" });
const runButton = /** @type {HTMLButtonElement} */ (h("button.primary.run", { type: "button", onclick: run, disabled: true }, "Run"));
const stopButton = h("button.stop", { type: "button", onclick: stop, hidden: true }, icon("stop"), "Stop");
const tabs = h("div.tabs", { role: "tablist", "aria-label": "Examples", onkeydown: turn });
const [resetButton, shareButton] = [["Reset", reset, "again"], ["Share", share, "copy"]].map(([name, onclick, look]) => h("button.quiet", { type: "button", onclick }, icon(look), name));

const closed = gate();
if (closed) fill(root, closed);
else open().catch((error) => said(`${error.message} Reload the page to try again.`, true));

async function open() {
  draw();
  const shared = await fromHash(location.hash);
  if (shared !== null) {
    drafts.set("shared", shared);
    await choose("shared");
  } else await choose(tab);
  const { reloading, registration } = await startServiceWorker({ url: new URL("service-worker.js", document.baseURI), onUpdate: update.offer });
  if (reloading) return;
  said("Python is starting …");
  if (registration) await controlled(registration); // from here on what is fetched is kept for a start without network
  python = startPython();
  await python;
  runButton.disabled = false;
  said("Ready");
}

function draw() {
  const keys = h("p.keys.note", { id: "keys" }, h("kbd", {}, "Ctrl"), " ", h("kbd", {}, "Enter"), " runs · ", h("kbd", {}, "Esc"), " ", h("kbd", {}, "Tab"), " leaves the editor");
  fill(root,
    update.element,
    h("header.top", {}, h("a.brand", { href: "index.html" }, "EdgeNet"), h("h1.title", {}, "Python playground"), theme),
    h("main.playground", {},
      h("section.write", { "aria-label": "Code" }, tabs, edit.element, h("div.bar-of-actions", {}, runButton, stopButton, resetButton, shareButton), keys),
      h("section.read", { "aria-label": "What it says" }, status, out.element)));
}

/** @param {string} id */
async function choose(id) {
  tab = id;
  const known = drafts.has("shared") ? [{ id: "shared", name: "From the link" }, ...EXAMPLES] : EXAMPLES;
  fill(tabs, known.map(({ id: own, name }) => h("button", { type: "button", role: "tab", "aria-selected": String(own === tab), tabindex: own === tab ? "0" : "-1", onclick: () => choose(own), data: { id: own } }, name)));
  if (id === "shared") said("This code came with the link. Read it before you run it.");
  edit.code = drafts.get(id) ?? (await exampleCode(id));
}

/** Arrows go from tab to tab. @param {KeyboardEvent} event */
async function turn({ key }) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
  if (!step) return;
  const ids = [...tabs.children].map((child) => /** @type {HTMLElement} */ (child).dataset.id ?? "");
  await choose(ids[(ids.indexOf(tab) + step + ids.length) % ids.length]);
  /** @type {HTMLElement} */ (tabs.querySelector("[aria-selected=true]")).focus();
}

async function run() {
  if (running || runButton.disabled || !python) return;
  running = true;
  busy();
  edit.mark(0);
  out.clear();
  said("Running …");
  const result = await (await python).run(edit.code, out.emit);
  running = false;
  busy();
  out.end(result);
  edit.mark(result.line ?? 0);
  said({ done: "Done", stopped: "Stopped", failed: "It ended with an error" }[result.status], result.status === "failed");
}

async function stop() {
  said("Stopping …");
  (await python)?.stop();
}

function busy() {
  runButton.hidden = running;
  stopButton.hidden = !running;
}

async function reset() {
  if (tab !== "shared") drafts.delete(tab);
  else drafts.set(tab, (await fromHash(location.hash)) ?? "");
  await choose(tab);
  out.clear();
}

async function share() {
  try {
    history.replaceState(null, "", `#${await toHash(edit.code)}`);
    await navigator.clipboard.writeText(location.href);
    said("The link is copied; the code is in it.");
  } catch (error) {
    said(error instanceof RangeError ? error.message : "The link is in the address bar; the code is in it.");
  }
}

/** @param {string} text @param {boolean} [bad] */
function said(text, bad = false) {
  fill(status, text);
  status.classList.toggle("bad", bad);
}
