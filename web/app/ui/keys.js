/** The keyboard: one table. Letters act only while nobody writes into a field. Runs in the page. */

const writing = (target) =>
  target.closest?.("textarea, select, [contenteditable], dialog") ||
  (target.matches?.("input") && !["checkbox", "radio", "button", "file"].includes(target.type));

/** @param {any} app */
export function listenToKeys(app) {
  const view = () => app.searchView;
  const anywhere = { Escape: () => view().close() || app.go("search") || view().focus() };
  const inBox = { ArrowDown: () => view().move(0), Enter: () => view().open() };
  const inSearch = {
    ArrowDown: () => view().move(1),
    ArrowUp: () => view().move(-1),
    r: () => view().mark(true),
    n: () => view().mark(false),
    u: () => app.undoMark(),
  };
  const free = {
    "/": () => {
      app.go("search");
      view().focus();
    },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const box = event.target === view().input;
    const reading = event.target.closest?.(".reader .body");
    const tables = box ? [inBox, anywhere] : writing(event.target) ? [] : [anywhere, free, ...(app.tab === "search" ? [inSearch] : [])];
    const action = tables.find((table) => Object.hasOwn(table, key))?.[key];
    if (!action || (reading && key.startsWith("Arrow"))) return; // arrows scroll the text that is read
    event.preventDefault();
    action();
  });
}
