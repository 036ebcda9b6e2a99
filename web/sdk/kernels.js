/**
 * The Hub's desk for extension kernels: the site's pack, verified when first asked for, and packs that the page adds under its own trust.
 * Each pack has a worker of its own, ended and replaced by the watchdog; none reaches the engine. Page and frame.
 */
import { ExtensionPack, loadExtensions } from "../engine/extension-pack.js";
import { siteTrust } from "../engine/site-trust.js";
import { KernelRunner } from "../engine/watchdog.js";
import { Disposed, InvalidOption, InvalidPack, NotSupported } from "./errors.js";
import { VERSION } from "./version.js";

/** @typedef {import("../engine/extension-pack.js").KernelInfo} KernelInfo */

export class KernelDesk {
  /** @type {Promise<ExtensionPack> | null} */ #site = null;
  /** Added packs by name. @type {Map<string, ExtensionPack>} */ #added = new Map();
  #closed = false;

  /** @param {{urls: import("./place.js").Urls, framed: boolean}} hub @param {(code: string, reason: string, more: object) => void} report */
  constructor({ urls, framed }, report) {
    this.urls = urls;
    this.framed = framed;
    this.report = report;
  }

  #makeRunner = () => new KernelRunner(() => new Worker(this.urls.kernel, { type: "module", name: "edgenet kernel" }), {
    onEvent: ({ code, kernel, reason }) => this.report(code, reason, { kernel }),
  });

  /** Tried again after a failure, so that going online is enough. */
  #own() {
    return (this.#site ??= this.#load(this.urls.kernels, () => siteTrust(this.urls)).catch((error) => { this.#site = null; throw error; }));
  }

  /** @param {string} url @param {() => Promise<any>} trusted @param {object} [more] */
  async #load(url, trusted, more = {}) {
    const pack = await loadExtensions(url, { ...(await trusted()), runtimeVersion: VERSION, makeRunner: this.#makeRunner, ...more });
    if (!this.#closed) return pack;
    pack.dispose();
    throw new Disposed("The ModelLoader was disposed.");
  }

  /** @returns {Promise<KernelInfo[]>} the site's, then those of added packs as `<pack>/<id>` */
  async list() {
    const own = await this.#own();
    return [...own.kernels(), ...[...this.#added].flatMap(([name, pack]) => pack.kernels(`${name}/`))];
  }

  /** @param {{id: string, call: import("../engine/kernels/calls.js").KernelCall, deadline?: number}} args @param {{signal?: AbortSignal}} options */
  async run({ id, call, deadline }, { signal }) {
    if (deadline !== undefined && !(deadline > 0)) throw new InvalidOption(`deadline cannot be ${deadline}. It takes milliseconds, above 0.`, { option: "deadline" });
    const [, name, own] = /^(.+)\/([^/]*)$/.exec(id) ?? [];
    const added = this.#added.get(name);
    const pack = added ?? (await this.#own());
    signal?.throwIfAborted();
    return pack.run(added ? own : id, call, { signal, deadline });
  }

  /**
   * A pack of somebody else's, believed by the page's own `trust` (the content of a trust.json). One of the same name replaces the former,
   * but only when it has passed everything.
   * @param {{url: string, trust: any, allowlist?: any}} args @param {{signal?: AbortSignal}} options @returns {Promise<KernelInfo[]>} its kernels
   */
  async add({ url, trust, allowlist }, { signal }) {
    if (this.framed) throw new NotSupported("In a frame only the kernels of the frame's own site run: whom it believes is its own matter. Put EdgeNet's files on your origin (frame: false) to add packs.", { url });
    if (!trust) throw new InvalidOption("addKernels needs trust: the content of a trust.json with the publisher's key. A pack is never believed by what lies beside it.", { option: "trust" });
    const pack = await this.#load(url, async () => ({ trust }), { allowlist, signal });
    const { name } = pack.manifest;
    if (!/^[a-z0-9]+([._-][a-z0-9]+)*$/.test(name)) {
      pack.dispose();
      throw new InvalidPack(`A pack's name must be lower-case letters and digits joined by . _ -, found ${JSON.stringify(name)}.`, { name });
    }
    this.#added.get(name)?.dispose();
    this.#added.set(name, pack);
    return pack.kernels(`${name}/`);
  }

  close() {
    this.#closed = true;
    this.#site?.then((pack) => pack.dispose(), () => {});
    for (const pack of this.#added.values()) pack.dispose();
    this.#added.clear();
  }
}
