/** The parts of the Personalise tab as the app joins them, over a played session. */
import { Course } from "../../web/app/personalise/course.js";
import { Material } from "../../web/app/personalise/material.js";
import { AdapterShelf } from "../../web/app/personalise/shelf.js";
import { observable } from "../../web/app/observable.js";
import { MemoryDatabase } from "./memory_db.mjs";
import { PlayedSession } from "./played_trainer.mjs";

export const TEXT = Array.from({ length: 60 }, (_, i) => `line number ${i} of my own text`).join("\n");
export const named = (...files) => files.map((file) => ({ file, name: file.name }));

/** `started` resolves with the trainer once it trains. */
export async function desk({ session = new PlayedSession(), db = new MemoryDatabase() } = {}) {
  const loader = { discardTraining: async (id) => void session.runs.delete(id) };
  const language = { session, loader, chosen: observable({ key: "m" }), phase: observable({ name: "loading" }), ready: async () => session };
  const errors = [];
  const shelf = new AdapterShelf({ language, db, onError: (error) => errors.push(error) });
  const course = new Course({ language, shelf, db });
  const material = await new Material(db).open();
  await material.add(named(new File([TEXT], "mine.txt")));
  const started = () => new Promise((resolve) => (session.started = resolve));
  return { session, db, language, shelf, course, material, errors, started };
}
