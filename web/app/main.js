/** The app's entry: may it run here, the service worker, then the app. Runs in the page. */
import { startServiceWorker } from "../sdk/isolation.js";
import { start } from "./app.js";
import { gate } from "./ui/gate.js";
import { plain } from "./ui/plain.js";
import { themeButton } from "./ui/theme.js";
import { updateBar } from "./ui/update.js";

const root = document.getElementById("app");
const theme = themeButton(); // colours first
const closed = gate();
if (closed) root.replaceChildren(closed);
else
  boot().catch((error) => {
    console.error(error);
    root.replaceChildren(plain(error));
  });

async function boot() {
  const update = updateBar();
  const { reloading, notice } = await startServiceWorker({ url: new URL("service-worker.js", document.baseURI), onUpdate: update.offer });
  if (!reloading) await start(root, { theme, update: update.element, notice });
}
