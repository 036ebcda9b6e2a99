/** Making elements without a framework and without HTML strings (so nothing of a document can become mark-up). Runs in the page. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * h("button.primary", {type: "button", onclick, "aria-label": "…", data: {id}}, "text", child). Unknown props become attributes; null and false are left out.
 * @param {string} spec tag and classes
 * @param {Record<string, any>} [props]
 * @param {...(Node|string|number|null|undefined|false|Array)} children
 * @returns {HTMLElement}
 */
export const h = (spec, props, ...children) => build(document.createElement(spec.split(".")[0]), spec, props, children);

/** The same for SVG. @returns {SVGElement} */
export const s = (spec, props, ...children) => build(document.createElementNS(SVG, spec.split(".")[0]), spec, props, children);

function build(element, spec, props = {}, children) {
  const classes = spec.split(".").slice(1);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(props ?? {})) setProp(element, name, value);
  element.append(
    ...children
      .flat(3)
      .filter((child) => child !== null && child !== undefined && child !== false)
      .map((child) => (child instanceof Node ? child : String(child))),
  );
  return element;
}

function setProp(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "data") Object.assign(element.dataset, value);
  else if (name === "value" || name === "hidden" || name === "checked" || name === "selected") element[name] = value;
  else element.setAttribute(name, value === true ? "" : value);
}

/** Replaces what `element` holds. */
export const fill = (element, ...children) => {
  element.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
};

const PATHS = {
  search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14Zm5 12 4 4",
  close: "M6 6l12 12M18 6 6 18",
  up: "M12 19V6m-5 5 5-5 5 5",
  down: "M12 5v13m5-5-5 5-5-5",
  yes: "M5 12.5l4.5 4.5L19 7.5",
  no: "M7 7l10 10M17 7 7 17",
  undo: "M9 7 5 11l4 4M5 11h9a5 5 0 0 1 0 10h-3",
  back: "M14 6l-6 6 6 6",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  pen: "M4 20l1-4L16 5l3 3L8 19z",
  plus: "M12 5v14M5 12h14",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8ZM12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.5 1.5m11 11L19 19M5 19l1.5-1.5m11-11L19 5",
  moon: "M20 14A8 8 0 1 1 10 4a6.5 6.5 0 0 0 10 10Z",
  auto: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18Zm0 0v18",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  spark: "M12 3l1.8 5.2L19 10l-5.2 1.8L12 17l-1.8-5.2L5 10l5.2-1.8zM19 16l.7 2 2 .7-2 .7-.7 2-.7-2-2-.7 2-.7z",
  folder: "M3 6h6l2 2h10v11H3z",
  save: "M12 4v11m-5-5 5 5 5-5M5 20h14",
  restore: "M12 15V4m-5 5 5-5 5 5M5 20h14",
  stop: "M7 7h10v10H7z",
  pause: "M9 6v12M15 6v12",
  play: "M8 5.5v13l11-6.5z",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  again: "M19 12a7 7 0 1 1-2-5l2 2m0-5v5h-5",
  gear: "M4 7h9m4 0h3M4 17h3m4 0h9M13 7a2 2 0 1 0 4 0 2 2 0 0 0-4 0ZM7 17a2 2 0 1 0 4 0 2 2 0 0 0-4 0Z",
  list: "M4 6h16M4 12h16M4 18h16",
  dots: "M6 12h.01M12 12h.01M18 12h.01",
};

/** @param {keyof typeof PATHS} name */
export const icon = (name) => s("svg.icon", { viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: PATHS[name] }));
