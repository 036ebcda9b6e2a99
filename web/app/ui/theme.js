/** Light, dark, or as the system says; remembered. Runs in the page. */
import { fill, h, icon } from "../dom.js";

const KEY = "edgenet-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const LOOK = { auto: ["auto", "Colours follow your system"], light: ["sun", "Light colours"], dark: ["moon", "Dark colours"] };

const saved = () => {
  try {
    return localStorage.getItem(KEY) ?? "auto";
  } catch {
    return "auto";
  }
};

/** Applies the remembered choice and answers the button that changes it. */
export function themeButton() {
  let theme = NEXT[saved()] ? saved() : "auto";
  const button = h("button.quiet.theme", {
    type: "button",
    onclick: () => {
      theme = NEXT[theme];
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        /* remembered for this visit only */
      }
      apply();
    },
  });
  const apply = () => {
    document.documentElement.dataset.theme = theme;
    fill(button, icon(LOOK[theme][0]));
    button.title = `${LOOK[theme][1]}. Change`;
    button.setAttribute("aria-label", button.title);
  };
  apply();
  return button;
}
