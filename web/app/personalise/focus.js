/** Where the keyboard stands when what it stood on is drawn anew or goes. Runs in the page. */

const controls = (row) => [...(row?.querySelectorAll("button, input") ?? [])];
const named = (row) => row.dataset.id ?? row.dataset.name;

/** Draws a list anew: the focus stays at its control in its row, goes to the row that took its place, or to `otherwise`. @param {HTMLElement} list @param {() => void} draw @param {() => HTMLElement | null} otherwise */
export function keepFocus(list, draw, otherwise) {
  const rows = [...list.children];
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const control = controls(rows[at]).indexOf(/** @type {any} */ (document.activeElement));
  draw();
  if (at < 0) return;
  const now = [...list.children];
  const same = now.find((row) => named(row) === named(rows[at]));
  const choices = controls(same ?? now[at] ?? now.at(-1));
  (choices[same ? control : 0] ?? choices[0] ?? otherwise())?.focus({ preventScroll: Boolean(same) }); // who has scrolled on meanwhile is not fetched back
}

/** Makes a change; a heading takes the focus that the change took away, and comes into sight. @param {() => void} change @param {() => HTMLElement} heading */
export function handOver(change, heading) {
  const held = document.activeElement;
  change();
  if (!held || held === document.body || held.getClientRects().length) return;
  const to = heading();
  to.tabIndex = -1;
  to.focus();
}
