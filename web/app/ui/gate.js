/** Where EdgeNet cannot run, it says why and what to do, instead of failing later. Runs in the page. */
import { h } from "../dom.js";

const step = (...children) => h("li", {}, children);

/** @returns {HTMLElement | null} what to show instead of the app, or null when all is well */
export function gate() {
  if (!globalThis.isSecureContext) return insecure();
  const lacking = Object.entries({
    WebAssembly: globalThis.WebAssembly,
    "IndexedDB (site data)": globalThis.indexedDB,
    WebCrypto: globalThis.crypto?.subtle,
    "Web Locks": navigator.locks,
  })
    .filter(([, has]) => !has)
    .map(([name]) => name);
  return lacking.length ? old(lacking) : null;
}

function insecure() {
  const local = `http://localhost${location.port ? `:${location.port}` : ""}${location.pathname}`;
  return h(
    "main.gate",
    {},
    h("h1", {}, "This address cannot run EdgeNet"),
    h(
      "p.lead",
      {},
      `You opened it as ${location.origin}. Over plain http from another machine, browsers withhold what EdgeNet needs to check and keep a model: cryptography, private file storage and service workers. Nothing was loaded.`,
    ),
    h("h2", {}, "What to do"),
    h(
      "ul",
      {},
      step("On the machine that serves it, open ", h("code", {}, local), "."),
      step(
        "From this machine, make a tunnel and open that same address here: ",
        h("code", {}, `ssh -L ${location.port || 80}:localhost:${location.port || 80} ${location.hostname}`),
      ),
      step("For everybody else, put the site on any host with ", h("code", {}, "https://"), ". It is a folder of static files."),
    ),
    h(
      "details",
      {},
      h("summary", {}, "Details"),
      h("pre", {}, `code: insecure_context\norigin: ${location.origin}\nisSecureContext: false`),
    ),
  );
}

function old(lacking) {
  return h(
    "main.gate",
    {},
    h("h1", {}, "This browser cannot run EdgeNet"),
    h("p.lead", {}, `It lacks ${lacking.join(", ")}, or does not allow it for this page.`),
    h("h2", {}, "What to do"),
    h(
      "ul",
      {},
      step("Use a current Chromium, Chrome, Edge, Firefox or Safari."),
      step("In a private window, or with site data blocked, allow site data for this address."),
    ),
  );
}
