/**
 * Exponential backoff with full jitter: each delay is uniform between 0 and a ceiling that grows.
 * Source of the rule: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
 */

/** What is used until a server has said otherwise in `welcome.reconnect`. */
export const DEFAULT_RECONNECT = Object.freeze({ base_ms: 500, max_ms: 60_000, factor: 2 });

export class Backoff {
  /** @type {{base_ms: number, max_ms: number, factor: number}} */
  #settings = DEFAULT_RECONNECT;
  #random;

  /** How many delays were given since the last reset. */
  attempt = 0;

  /** @param {() => number} [random] a number in [0, 1); handed in by tests */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /** Take over the server's wish. @param {{base_ms: number, max_ms: number, factor: number}} settings */
  configure(settings) {
    this.#settings = settings;
  }

  /** The most that the next delay can be, in milliseconds. */
  get ceilingMs() {
    const { base_ms, max_ms, factor } = this.#settings;
    // Bounded, so that a client that tried for days does not reach Infinity, and Infinity × 0 is not NaN.
    return Math.min(max_ms, base_ms * factor ** Math.min(this.attempt, 64));
  }

  /** The next delay in milliseconds. */
  nextMs() {
    const ceiling = this.ceilingMs;
    this.attempt += 1;
    return this.#random() * ceiling;
  }

  reset() {
    this.attempt = 0;
  }
}
