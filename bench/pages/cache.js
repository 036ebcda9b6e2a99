/** The page of `bench cache`: one loader worker of the built site, one worker for the plain way. */
import { connect } from "../../web/workers/rpc.js";

const start = (path) => connect(new Worker(new URL(path, document.baseURI), { type: "module" }), path);
const at = (path) => new URL(path, document.baseURI).href;

window.bench = {
  async start(id) {
    this.id = id;
    this.loader = start("workers/loader.js");
    this.plain = start("bench/cache-worker.js");
    await this.loader.call("configure", { urls: { base: at("./"), models: at("models/"), trust: at("trust.json"), revocations: at("revocations.json") } });
    const { manifest, url } = await this.loader.call("manifest", { id: this.id });
    this.files = Object.values(manifest.artifacts).map((a) => ({ name: a.filename, url: new URL(a.filename, url).href, size: a.size, root: a.merkleRoot }));
    return this.files;
  },
  async pull() {
    await this.loader.call("clear");
    const begun = performance.now();
    await this.loader.call("pull", { id: this.id });
    return performance.now() - begun;
  },
  async plainPull() {
    await this.plain.call("clear");
    const begun = performance.now();
    await this.plain.call("plainDownload", { files: this.files });
    return performance.now() - begun;
  },
  load: async ({ root }) => (await window.bench.plain.call("load", { root })).ms,
  plainLoad: async ({ name, size }) => (await window.bench.plain.call("plainLoad", { name, size })).ms,
};
