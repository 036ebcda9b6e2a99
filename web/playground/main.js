/** The playground's entry: an editor whose Python runs in this tab, by PyScript. Page. Nothing runs before somebody says Run. */
import { fill, h, icon } from "../app/dom.js";
import { gate } from "../app/ui/gate.js";
import { themeButton } from "../app/ui/theme.js";
import { updateBar } from "../app/ui/update.js";
import { controlled, startServiceWorker } from "../sdk/isolation.js";
import { Drafts, SHARED } from "./drafts.js";
import { editor } from "./editor.js";
import { EXAMPLES, exampleCode } from "./examples.js";
import { output } from "./output.js";
import { fromHash, isLink, toHash } from "./share.js";
import { startPython } from "./start.js";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const theme = themeButton(); // colours first
const update = updateBar();

const drafts = new Drafts();
/** @type {string} */ let tab = EXAMPLES[0].id;
let shown = tab; // whose code stands in the editor: an example's comes later
let link = ""; // code that came with the address
let ran = tab; // whose code ran last: its errors have that code's lines
/** @type {Promise<import("./start.js").Python> | null} */ let python = null;
let running = false;

const edit = editor({ onRun: run, onInput: (code) => drafts.set(shown, code) });
const out = output({ goTo: (line) => choose(ran).then(() => edit.goTo(line)) });
const told = h("p.told.note", { role: "status" });
const status = h("p.state", { role: "status" });
const runButton = /** @type {HTMLButtonElement} */ (h("button.primary.run", { type: "button", onclick: run, disabled: true }, "Run"));
const stopButton = h("button.stop", { type: "button", onclick: stop, hidden: true }, icon("stop"), "Stop");
const tabs = h("div.tabs", { role: "tablist", "aria-label": "Examples", onkeydown: turn });
const [resetButton, shareButton] = [["Reset", reset, "again"], ["Share", share, "copy"]].map(([name, onclick, look]) => h("button.quiet", { type: "button", onclick }, icon(look), name));

const closed = gate();
if (closed) fill(root, closed);
else open().catch((error) => said(`${error.message} Reload the page to try again.`, true));
addEventListener("hashchange", fromLink);

async function open() {
  draw();
  await fromLink();
  const { reloading, registration } = await startServiceWorker({ url: new URL("service-worker.js", document.baseURI), onUpdate: update.offer });
  if (reloading) return;
  said("Python is starting …");
  if (registration) await controlled(registration); // from here on what is fetched is kept for a start without network
  python = startPython();
  await python;
  runButton.disabled = false;
  said("Ready");
}

/** Code of the address, which may also be pasted over that of an open page. */
async function fromLink() {
  const code = await fromHash(location.hash);
  if (code !== null) drafts.set(SHARED, (link = code));
  await choose(code === null ? tab : SHARED);
  if (code === null && isLink(location.hash)) fill(told, "This link was cut off: the code in it cannot be read. Ask for it again.");
}

function draw() {
  const key = (...names) => h("span", {}, names.map((name) => [h("kbd", {}, name), " "]));
  const keys = h("p.keys.note", { id: "keys" }, h("span", {}, key("Ctrl", "Enter"), "runs"), h("span", {}, key("Tab"), "indents"), h("span", {}, key("Esc", "Tab"), "leaves the editor"));
  fill(root,
    update.element,
    h("header.top", {}, h("a.brand", { href: "index.html" }, "EdgeNet"), h("h1.title", {}, "Python playground"), theme),
    h("main.playground", {},
      h("section.write", { "aria-label": "Code" }, tabs, told, edit.element, h("div.bar-of-actions", {}, runButton, stopButton, resetButton, shareButton), keys),
      h("section.read", { "aria-label": "What it says" }, status, out.element)));
}

/** @param {string} id */
async function choose(id) {
  tab = id;
  const known = drafts.get(SHARED) === null ? EXAMPLES : [{ id: SHARED, name: "From the link" }, ...EXAMPLES];
  fill(tabs, known.map(({ id: own, name }) => h("button", { type: "button", role: "tab", "aria-selected": String(own === tab), "aria-controls": "script", tabindex: own === tab ? "0" : "-1", onclick: () => choose(own), data: { id: own } }, name)));
  fill(told, id === SHARED && "This code came with the link. Read it before you run it.");
  try {
    const code = drafts.get(id) ?? (await exampleCode(id));
    if (tab !== id || (shown === id && edit.code === code)) return; // another was chosen meanwhile; or it stands there
    shown = id;
    edit.code = code;
  } catch (error) {
    said(error.message, true);
  }
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
  ran = shown;
  busy();
  edit.mark(0);
  out.clear();
  said("Running …");
  const result = await perform(edit.code);
  running = false;
  busy();
  out.end(result);
  if (ran === shown) edit.mark(result.line ?? 0);
  said({ done: "Done", stopped: "Stopped", failed: "It ended with an error" }[result.status], result.status === "failed");
}

/** @param {string} code @returns {Promise<import("./start.js").Result>} also where Python itself ends */
async function perform(code) {
  try {
    return await /** @type {import("./start.js").Python} */ (await python).run(code, out.emit);
  } catch (error) {
    return { status: "failed", text: `Python stopped working (${error.message}).`, advice: "Reload the page: your code is kept." };
  }
}

async function stop() {
  said("Stopping …");
  (await python)?.stop();
}

/** One of two buttons at one place; who was at the one is at the other. */
function busy() {
  const held = document.activeElement === runButton || document.activeElement === stopButton;
  runButton.hidden = running;
  stopButton.hidden = !running;
  if (held) (running ? stopButton : runButton).focus();
}

async function reset() {
  const [id, was] = [tab, edit.code];
  if (id === SHARED) drafts.set(id, link);
  else drafts.delete(id);
  await choose(id);
  if (!running) out.clear();
  if (edit.code === was) return;
  const back = () => {
    drafts.set(id, was);
    said("");
    return choose(id);
  };
  said("The code is as it came. ");
  status.append(h("button.link", { type: "button", onclick: back }, "Undo"));
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
