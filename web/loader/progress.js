/**
 * One true total over all files of a model, shared by every tab that waits for it. Runs in the loader worker.
 * Tabs tell each other the verified bytes of each artifact, so a tab that only waits shows the same figures as the one that fetches.
 */
const CHANNEL = "edgenet-progress";

/**
 * @param {string} name the model's id
 * @param {{root: string, filename: string, size: number}[]} files
 * @param {(event: any) => void} emit
 * @param {"download" | "verify"} [phase]
 */
export function trackProgress(name, files, emit, phase = "download") {
  const total = files.reduce((sum, { size }) => sum + size, 0);
  const byRoot = new Map(files.map((file) => [file.root, { ...file, held: 0 }]));
  const channel = new BroadcastChannel(CHANNEL);

  const loaded = () => [...byRoot.values()].reduce((sum, { held }) => sum + held, 0);
  function say(status, filename) {
    const bytes = loaded();
    emit({ status, phase, name, file: filename, loaded: bytes, total, progress: total ? (100 * bytes) / total : 100 });
  }
  /** Only forward: a tab that starts later knows less at first. */
  function move(root, bytes) {
    const file = byRoot.get(root);
    if (!file || bytes <= file.held) return false;
    file.held = bytes;
    say(bytes === file.size ? "done" : "progress", file.filename);
    return true;
  }
  channel.addEventListener("message", ({ data }) => { if (data.phase === phase) move(data.root, data.bytes); });
  return {
    start: (/** @type {string} */ root) => say("initiate", byRoot.get(root)?.filename),
    /** @param {string} root @param {number} bytes verified so far */
    set(root, bytes) {
      if (move(root, bytes)) channel.postMessage({ root, bytes, phase });
    },
    close: () => channel.close(),
  };
}
