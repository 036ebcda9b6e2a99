/** Numbers and times as people read them. Pure. */

const UNITS = ["B", "KB", "MB", "GB"];

/** 23156789 → "23 MB". @param {number} bytes */
export function bytes(bytes) {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** power;
  return `${value < 10 && power ? value.toFixed(1) : Math.round(value)} ${UNITS[power]}`;
}

/** (1, "document") → "1 document"; (1234, "document") → "1,234 documents". */
export const count = (n, noun, plural = `${noun}s`) => `${n.toLocaleString("en")} ${n === 1 ? noun : plural}`;

/** "today", "yesterday", or a date. @param {number} at ms @param {number} now ms */
export function day(at, now = Date.now()) {
  const days = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 86_400_000);
  return days <= 0
    ? "today"
    : days === 1
      ? "yesterday"
      : new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}

/** "1a2b3c4d5e6f7a8b" → "1a2b 3c4d 5e6f 7a8b". */
export const fingerprint = (hex) => hex.match(/.{1,4}/g)?.join(" ") ?? hex;

/** 75 → "1 min 15 s"; 4000 → "1 h 7 min". @param {number} seconds */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}
