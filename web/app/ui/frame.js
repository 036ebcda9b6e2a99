/** What stands around the tabs: name, navigation, theme, update bar, status line, messages. The address's hash is the tab. Runs in the page. */
import { fill, h, s } from "../dom.js";
import { statusLine } from "./status.js";

const TABS = { search: "Search", library: "Library", teaching: "Teaching", complete: "Complete", chat: "Chat", personalise: "Personalise", models: "Models" };

const logo = () =>
  s(
    "svg.logo",
    { viewBox: "0 0 32 32", "aria-hidden": "true" },
    s("path", { class: "links", d: "M8 9 16 23 24 9M8 9h16" }),
    s("circle", { cx: 8, cy: 9, r: 3.4 }),
    s("circle", { cx: 24, cy: 9, r: 3.4 }),
    s("circle", { class: "lit", cx: 16, cy: 23, r: 4.4 }),
  );

/** Also gives the app its `show()`. @param {any} app @param {HTMLElement} theme @param {HTMLElement} update @returns {Node[]} */
export function frame(app, theme, update) {
  const links = Object.entries(TABS).map(([id, name]) => h("a", { href: `#${id}`, data: { tab: id } }, name));
  const main = h("main", { id: "main", tabindex: "-1" });
  const top = h(
    "header.top",
    {},
    h("a.brand", { href: "#search", "aria-label": "EdgeNet, search" }, logo(), h("span", {}, "EdgeNet")),
    h("nav", { "aria-label": "Main" }, links, h("a", { href: "playground.html", title: "Python playground: scripts that run in this tab" }, "Python")),
    theme,
  );
  app.show = () => {
    links.forEach((link) =>
      link.dataset.tab === app.tab ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current"),
    );
    links.find(({ dataset }) => dataset.tab === app.tab)?.scrollIntoView({ block: "nearest", inline: "nearest" }); // on a phone they scroll
    fill(main, app.views[app.tab].element);
    document.title = app.tab === "search" ? "EdgeNet: search your notes by meaning" : `${TABS[app.tab]} \u00b7 EdgeNet`;
    if (location.hash.slice(1) !== app.tab) history.replaceState(null, "", `#${app.tab}`);
  };
  const follow = () => TABS[location.hash.slice(1)] && app.go(location.hash.slice(1));
  addEventListener("hashchange", follow);
  if (TABS[location.hash.slice(1)]) app.tab = location.hash.slice(1);
  app.views[app.tab].opened?.();
  const number = (tab, n) => {
    const link = links.find(({ dataset }) => dataset.tab === tab);
    fill(link, TABS[tab], n ? h("span.number", {}, n.toLocaleString("en")) : null);
  };
  app.library.addEventListener("change", () => number("library", app.library.size));
  number("library", app.library.size);
  app.teacher.state.watch(({ marks }) => number("teaching", marks.length));
  return [
    h(
      "a.skip",
      {
        href: "#main",
        onclick: (event) => {
          event.preventDefault();
          main.focus();
        },
      },
      "Skip to the content",
    ),
    top,
    update,
    main,
    statusLine(app),
    h("div.dock", {}, app.activity.element, app.toasts.element),
  ];
}
