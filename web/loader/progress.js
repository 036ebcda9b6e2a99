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
  const held = new Map(files.map(({ root }) => [root, 0]));
  const byRoot = new Map(files.map((file) => [file.root, file]));
  const channel = new BroadcastChannel(CHANNEL);

  const loaded = () => [...held.values()].reduce((sum, bytes) => sum + bytes, 0);
  function say(status, root) {
    const bytes = loaded();
    emit({ status, phase, name, file: byRoot.get(root).filename, loaded: bytes, total, progress: total ? (100 * bytes) / total : 100 });
  }
  /** Only forward: a tab that starts later knows less at first. */
  function move(root, bytes) {
    const before = held.get(root);
    if (before === undefined || bytes <= before) return false;
    held.set(root, bytes);
    say(bytes === byRoot.get(root).size ? "done" : "progress", root);
    return true;
  }
  channel.addEventListener("message", ({ data }) => { if (data.phase === phase) move(data.root, data.bytes); });
  return {
    start: (/** @type {string} */ root) => say("initiate", root),
    /** @param {string} root @param {number} bytes verified so far */
    set(root, bytes) {
      if (move(root, bytes)) channel.postMessage({ root, bytes, phase });
    },
    close: () => channel.close(),
  };
}
