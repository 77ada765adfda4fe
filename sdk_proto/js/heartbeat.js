/**
 * When to ping, and when to give the server up (PROTOCOL.md §5, "Life"). Pure: `now` is monotonic milliseconds, handed in.
 *
 * Pings keep a schedule of their own, though any frame counts for the server: a client that only sends acks into a dead
 * connection would otherwise put off for ever the one frame that has an answer.
 */

export class Heartbeat {
  #pongTimeoutMs;
  #bounds;
  #nextMs;
  #pingAt;
  #unansweredSince = null;

  /**
   * @param {{min: number, max: number, next: number}} bounds `welcome.heartbeat`, seconds
   * @param {number} pongTimeoutMs how long an answer to a ping may take
   * @param {number} now
   */
  constructor(bounds, pongTimeoutMs, now) {
    this.#bounds = bounds;
    this.#pongTimeoutMs = pongTimeoutMs;
    this.#nextMs = bounds.next * 1000;
    this.#pingAt = now + this.#nextMs;
  }

  /** The interval in force, in whole seconds: what `ping.next` says. */
  get nextS() {
    return Math.round(this.#nextMs / 1000);
  }

  /** Change the interval, clamped to the server's bounds; the next ping tells the server. @returns {boolean} whether it changed */
  wish(seconds) {
    const clamped = Math.min(this.#bounds.max, Math.max(this.#bounds.min, Math.round(seconds))) * 1000;
    if (clamped === this.#nextMs) return false;
    this.#nextMs = clamped;
    return true;
  }

  /** When `isPingDue` or `isDead` becomes true next. */
  get deadline() {
    return this.#unansweredSince === null ? this.#pingAt : this.#unansweredSince + this.#pongTimeoutMs;
  }

  isPingDue(now) {
    return this.#unansweredSince === null && now >= this.#pingAt;
  }

  isDead(now) {
    return this.#unansweredSince !== null && now >= this.#unansweredSince + this.#pongTimeoutMs;
  }

  pingSent(now) {
    this.#unansweredSince ??= now;
    this.#pingAt = now + this.#nextMs;
  }

  /** Anything that the server sends proves it alive, not only a pong. */
  received() {
    this.#unansweredSince = null;
  }
}
