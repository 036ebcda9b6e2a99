/** The page's side of `bench steps`. */
import { connect } from "../../../web/workers/rpc.js";

const worker = connect(new Worker("steps-worker.js", { type: "module" }));
const here = (path) => new URL(path, location.href).href;

window.bench = {
  open: ({ site, model, files, ...rest }) => worker.call("open", { site: here(site), model: here(model), files: here(files), ...rest }),
  run: () => worker.call("run"),
};
