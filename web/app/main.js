/** The app's entry: opens the library, builds the page, wires the parts. Runs in the page. */
import { start } from "./app.js";
import { gate } from "./ui/gate.js";
import { plain } from "./ui/plain.js";
import { themeButton } from "./ui/theme.js";
import { ensureIsolation } from "../sdk/isolation.js";

const root = document.getElementById("app");
const theme = themeButton(); // colours first, so that nothing flashes
const closed = gate();
if (closed) root.replaceChildren(closed);
else boot().catch((error) => { console.error(error); root.replaceChildren(plain(error)); });

async function boot() {
  await ensureIsolation();
  await start(root, theme);
}
