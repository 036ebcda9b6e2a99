/** Lets list items glide from where they were to where they are (first, last, invert, play). Runs in the page; does nothing for people who asked for less motion. */

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** @param {HTMLElement} list children are told apart by data-id @param {() => void} change rebuilds the list */
export function glide(list, change) {
  if (calm()) return change();
  const tops = new Map([...list.children].map((item) => [item.dataset.id, item.getBoundingClientRect().top]));
  change();
  for (const item of list.children) {
    const before = tops.get(item.dataset.id);
    const by = before === undefined ? 0 : before - item.getBoundingClientRect().top;
    if (by)
      item.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 320, easing: "cubic-bezier(.2,.8,.2,1)" });
  }
}
