/**
 * EdgeNet inside somebody else's page: an invisible frame of EdgeNet's own origin holds workers and storage, and one MessageChannel
 * leads to it. Page side. It trusts only messages of that frame and that origin. The frame's side is in web/app/embed.js.
 */
import { connect } from "../workers/rpc.js";
import { FrameRefused, InvalidOption } from "./errors.js";

export const HELLO = "edgenet-frame-hello";
export const CONNECT = "edgenet-frame-connect";
/** After the frame's load event its greeting is on the way or never comes. */
const GRACE = 3000;
/** Longest wait for a frame whose load event never comes. */
const PATIENCE = 30000;
/** The options a page may choose for the frame. Never `urls` (whom the frame believes) nor `testing` (it lets code be run). */
const PASSED = ["cache", "sources", "download", "backend", "memory", "threads"];

/** What of a page's options reaches the frame, without functions; applied on both sides. @param {any} options @returns {any} */
export const passedOptions = (options) => JSON.parse(JSON.stringify(Object.fromEntries(PASSED.map((name) => [name, options?.[name]]))));

/**
 * @param {string} url of embed.html @param {any} options as `readOptions` gives them
 * @returns {Promise<import("./loader.js").Backend>}
 * @throws FrameRefused the page's CSP, COEP or the frame's own rules stop it
 */
export async function openFrame(url, options) {
  const foreign = Object.keys(options.urls).filter((key) => !["base", "embed"].includes(key));
  if (foreign.length) throw new InvalidOption(`In a frame the addresses are those of ${new URL(url).origin}; ${foreign.join(", ")} cannot be set. Use frame: false with files of your own origin.`, { foreign });
  const frame = makeFrame(url);
  try {
    await greeted(frame, url);
  } catch (error) {
    frame.remove();
    throw error;
  }
  const { port1, port2 } = new MessageChannel();
  frame.contentWindow?.postMessage({ type: CONNECT, options: passedOptions(options) }, new URL(url).origin, [port2]);
  const connection = connect(port1, `frame ${url}`);
  return {
    call: (kind, args, rest) => connection.call("call", { kind, args }, rest),
    close() {
      connection.close();
      frame.remove();
    },
  };
}

/** @param {string} url */
function makeFrame(url) {
  const frame = document.createElement("iframe");
  frame.hidden = true;
  frame.title = "EdgeNet";
  frame.ariaHidden = "true";
  frame.tabIndex = -1;
  frame.allow = "cross-origin-isolated; storage-access";
  frame.src = url;
  return frame;
}

/** Resolves when the frame has greeted. @param {HTMLIFrameElement} frame @param {string} url */
function greeted(frame, url) {
  const { origin } = new URL(url);
  const done = new AbortController();
  const { signal } = done;
  return new Promise((resolve, reject) => {
    const refuse = (/** @type {string} */ why) => reject(new FrameRefused(`EdgeNet's frame ${url} did not open: ${why}. Allow "frame-src ${origin}" in this page's `
      + "Content-Security-Policy and let that address send its own headers, or put EdgeNet's files on this page's origin.", { url, why }));
    addEventListener("message", ({ data, origin: from, source }) => {
      if (from === origin && source === frame.contentWindow && data?.type === HELLO) resolve(undefined);
    }, { signal });
    document.addEventListener("securitypolicyviolation", (event) => {
      if (/^(frame|child|default)-src/.test(event.effectiveDirective) && sameTarget(event.blockedURI, url)) refuse(`this page's ${event.effectiveDirective} forbids it`);
    }, { signal });
    frame.addEventListener("load", () => setTimeout(refuse, GRACE, "it loaded something else, or its headers or this page's COEP forbid it"), { signal });
    const timer = setTimeout(refuse, PATIENCE, "no answer in 30 s");
    signal.addEventListener("abort", () => clearTimeout(timer));
    (document.body ?? document.documentElement).append(frame);
  }).finally(() => done.abort());
}

/** A violation names the whole address or, across origins, only the origin. @param {string} blocked @param {string} url */
const sameTarget = (blocked, url) => blocked === url || blocked === new URL(url).origin || url.startsWith(blocked);
