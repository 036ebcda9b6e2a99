/** What runs in the background, each with its progress and a way to stop it, in a card that never pushes the page around. Runs in the page. */
import { h, icon } from "../dom.js";

export class Activity {
  constructor() {
    this.element = h("div.activity", { role: "region", "aria-label": "Running in the background" });
  }

  /**
   * @param {string} title @param {{cancel?: () => void}} [options]
   * @returns {{say: (text: string, percent: number | null) => void, end: () => void}} percent null: unknown
   */
  start(title, { cancel } = {}) {
    const note = h("span.note");
    const bar = h("progress", { max: "100", "aria-label": title });
    const item = h(
      "div.task",
      {},
      h("div.line", {}, h("strong", {}, title), note),
      bar,
      cancel && h("button.quiet.close", { type: "button", "aria-label": `Stop: ${title}`, title: "Stop", onclick: cancel }, icon("close")),
    );
    this.element.append(item);
    return {
      say(text, percent) {
        note.textContent = text;
        if (percent === null || percent === undefined) bar.removeAttribute("value");
        else bar.value = percent;
      },
      end: () => item.remove(),
    };
  }

  /**
   * Shows a task while `show(value)` answers one; the observable drives it.
   * @param {{watch: Function}} source @param {(value: any) => null | {title: string, text: string, percent: number|null, cancel?: () => void}} show
   */
  follow(source, show) {
    let task = null,
      title = null;
    source.watch((value) => {
      const now = show(value);
      if (task && now?.title !== title) {
        task.end();
        task = null;
      }
      if (!now) return;
      task ??= this.start(now.title, { cancel: now.cancel });
      title = now.title;
      task.say(now.text, now.percent);
    });
  }
}
