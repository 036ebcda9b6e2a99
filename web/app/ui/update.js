/** Tells that a new version of the page is ready, and reloads when the user agrees. Runs in the page. Nothing is lost: all that counts is saved as it happens. */
import { h } from "../dom.js";

/** @param {any} app @returns {HTMLElement} empty until there is something to say */
export function updateBar(app) {
  const bar = h("div.update", { role: "status" });
  const show = (worker) => {
    if (bar.childElementCount) return;
    const reload = h("button.primary", { type: "button", onclick: () => { sessionStorage.setItem("edgenet-words", app.searchView.input.value); app.worklist.pause(); navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true }); worker.postMessage({ kind: "activate" }); setTimeout(() => location.reload(), 3000); } }, "Reload");
    bar.append(h("span", {}, "A new version of EdgeNet is ready."), reload, h("button.quiet", { type: "button", onclick: () => bar.replaceChildren() }, "Later"));
  };
  watch(show);
  return bar;
}

async function watch(show) {
  const registration = await navigator.serviceWorker?.getRegistration();
  if (!registration) return;
  const look = (worker) => worker?.addEventListener("statechange", () => worker.state === "installed" && navigator.serviceWorker.controller && show(worker));
  if (registration.waiting && navigator.serviceWorker.controller) show(registration.waiting);
  look(registration.installing);
  registration.addEventListener("updatefound", () => look(registration.installing));
}
