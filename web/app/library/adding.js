/** The ways in: pasted text, chosen files and folders, drops anywhere on the page, samples, backups. Runs in the page. */
import { SAMPLE_NOTES } from "../samples.js";
import { count } from "../format.js";
import { backupParts, readBackup, restoreBackup } from "./backup.js";
import { addFiles, listed, walk } from "./files.js";

export class Adding {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
  }

  /** @param {string} name @param {string} text @returns {Promise<boolean>} whether it was taken */
  async paste(name, text) {
    const title = name.trim() || firstWords(text) || "Pasted text";
    try {
      const { outcome, undo } = await this.app.library.add({ name: title, text, type: "md" });
      const said = {
        added: `Added \u201c${title}\u201d.`,
        updated: `Updated \u201c${title}\u201d.`,
        same: `\u201c${title}\u201d is already there, word for word.`,
      };
      this.app.toasts.say(said[outcome], undo && { label: "Undo", run: () => undo().then(() => this.app.worklist.start()) });
      this.#begin();
      return true;
    } catch (error) {
      this.app.toasts.error(error);
      return false;
    }
  }

  /** @param {Iterable<File>} files of an input */
  chosen(files) {
    return this.#read(listed(files));
  }

  /** @param {DataTransfer} transfer */
  dropped(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // must be asked before the event ends
    const text = !entries.length && transfer.getData("text/plain");
    if (text) return this.paste("", text);
    if (!entries.length) return this.chosen([...transfer.files]);
    const controller = new AbortController();
    return this.#read(walk(entries, controller.signal), controller);
  }

  async #read(files, controller = new AbortController()) {
    const activity = this.app.activity.start("Reading files", { cancel: () => controller.abort() });
    try {
      const report = await addFiles(this.app.library, files, {
        signal: controller.signal,
        onProgress: ({ read }) => activity.say(count(read, "file"), null),
      });
      this.#tell(report);
    } catch (error) {
      this.app.toasts.error(error);
    } finally {
      activity.end();
    }
    this.#begin();
  }

  #tell({ read, added, updated, same, skipped }) {
    const parts = [
      added && `${count(added, "document")} added`,
      updated.length && `${updated.length} updated`,
      same && `${same} unchanged`,
      skipped.length && `${skipped.length} left out`,
    ].filter(Boolean);
    const undo = updated.length && {
      label: "Undo updates",
      run: async () => {
        for (const change of updated) await change.undo();
        this.#begin();
      },
    };
    this.app.skipped.set(skipped);
    this.app.toasts.say(
      read ? `${parts.join(", ")}.` : "There was no file in it to read.",
      undo || (skipped.length ? { label: "Why", run: () => this.app.go("library") } : null),
    );
  }

  async samples() {
    for (const note of SAMPLE_NOTES) {
      const { document } = await this.app.library.add(note);
      if (!document.sample) await this.app.library.amend([document.id], (stored) => ({ document: { ...stored, sample: true } }));
    }
    this.#begin();
  }

  /** Saves everything into one file of the user's. */
  async backup() {
    const { app } = this;
    const activity = app.activity.start("Writing the backup");
    try {
      const session = await app.engine.ready();
      const teaching = await app.teacher.export();
      const parts = [];
      for await (const part of backupParts(app.library, {
        dimensions: session.dimensions,
        teaching,
        createdAt: new Date().toISOString(),
      })) {
        parts.push(new Blob([part])); // the browser may keep blobs on disk
        activity.say(count(parts.length, "part"), null);
      }
      download(new Blob(parts, { type: "application/json" }), `edgenet-backup-${new Date().toISOString().slice(0, 10)}.json`);
    } catch (error) {
      app.toasts.error(error);
    } finally {
      activity.end();
    }
  }

  /** @param {File} file */
  async restore(file) {
    const { app } = this;
    const activity = app.activity.start("Restoring", {});
    try {
      activity.say("checking the file", null);
      const backup = await readBackup(await file.text());
      await app.engine.ready();
      const { added, present, reindex } = await restoreBackup(app.library, backup, app.engine.model);
      const taught = backup.teaching && (await this.#restoreTeaching(backup.teaching));
      const parts = [
        `${count(added, "document")} restored`,
        present && `${present} already there`,
        reindex && `${reindex} to be read again (another model)`,
        taught,
      ];
      app.toasts.say(`${parts.filter(Boolean).join(", ")}.`);
    } catch (error) {
      app.toasts.error(error);
    } finally {
      activity.end();
    }
    this.#begin();
  }

  /** Marks that are there are not replaced unless the user says so. */
  async #restoreTeaching(data) {
    const { teacher, ask } = this.app;
    const mine = teacher.state.value.marks.length;
    if (
      mine &&
      !(await ask({
        title: "Replace what you taught?",
        text: `The backup holds marks of its own, and you have ${count(mine, "mark")} here. Only one set can be used.`,
        yes: "Use the backup's marks",
        no: "Keep mine",
      }))
    )
      return "your marks were kept";
    await teacher.import(data);
    return "marks restored";
  }

  #begin() {
    if (this.app.library.size) this.app.persist();
    this.app.worklist.start();
  }
}

const firstWords = (text) => text.trim().replace(/^#+ */, "").split("\n")[0].split(/\s+/).slice(0, 7).join(" ").slice(0, 60);

/** Hands a file to the user. @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
