/** A value that can be watched. Runs anywhere. */

/**
 * @template T @param {T} value
 * @returns {{value: T, set: (next: T) => void, patch: (part: Partial<T>) => void, watch: (listener: (value: T) => void) => () => void}} watch calls at once, and answers how to stop
 */
export function observable(value) {
  const listeners = new Set();
  const self = {
    value,
    set(next) {
      self.value = next;
      listeners.forEach((listener) => listener(next));
    },
    patch: (part) => self.set({ ...self.value, ...part }),
    watch(listener) {
      listeners.add(listener);
      listener(self.value);
      return () => listeners.delete(listener);
    },
  };
  return self;
}
