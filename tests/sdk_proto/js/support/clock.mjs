/** Time that passes when a test says so. */

/** Lets everything run that waits for nothing but a promise. */
export async function settle() {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export class FakeClock {
  #now = 1_000;
  #timers = new Map();
  #serial = 0;

  now = () => this.#now;

  setTimeout = (callback, ms) => {
    this.#serial += 1;
    this.#timers.set(this.#serial, { at: this.#now + ms, callback });
    return this.#serial;
  };

  clearTimeout = (timer) => {
    this.#timers.delete(timer);
  };

  /** Milliseconds until the next timer; null without one. */
  get nextIn() {
    if (this.#timers.size === 0) return null;
    return Math.min(...[...this.#timers.values()].map(({ at }) => at)) - this.#now;
  }

  async advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (due === undefined) break;
      const [timer, { at, callback }] = due;
      this.#timers.delete(timer);
      this.#now = Math.max(this.#now, at);
      callback();
    }
    this.#now = end;
  }
}
