/**
 * When to ping, and when to give the server up (PROTOCOL.md §5, "Life"). Pure: `now` is monotonic milliseconds, handed in. How
 * long the interval should be is learned by `adaptive.js`.
 *
 * Pings keep a schedule of their own, though any frame counts for the server: a client that only sends acks into a dead
 * connection would otherwise put off for ever the one frame that has an answer.
 */

export class Heartbeat {
  #pongTimeoutMs;
  #bounds;
  #nextMs;
  #pingedAt;
  #pingAt;
  #trafficAt;
  #quietMs = 0;
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
    this.#pingedAt = now; // the welcome counts: the server has heard us
    this.#pingAt = now + this.#nextMs;
    this.#trafficAt = now;
  }

  /** What the server allows, as far as it has said. */
  get bounds() {
    return this.#bounds;
  }

  /** The interval in force, in whole seconds: what `ping.next` says. */
  get nextS() {
    return Math.round(this.#nextMs / 1000);
  }

  /**
   * Change the interval, clamped to the server's bounds; the next ping tells the server, and comes no later than it would have,
   * since the server counts on that.
   *
   * @returns {boolean} whether it changed
   */
  wish(seconds) {
    const clamped = Math.min(this.#bounds.max, Math.max(this.#bounds.min, Math.round(seconds))) * 1000;
    const changed = clamped !== this.#nextMs;
    this.#nextMs = clamped;
    this.#pingAt = Math.min(this.#pingAt, this.#pingedAt + clamped);
    return changed;
  }

  /** The server has another interval in force than the last ping asked for: its bounds have changed. @param {number} seconds */
  told(seconds) {
    const { min, max } = this.#bounds;
    if (seconds < this.nextS) this.#bounds = { ...this.#bounds, min: Math.min(min, seconds), max: seconds };
    else if (seconds > this.nextS) this.#bounds = { ...this.#bounds, min: seconds, max: Math.max(max, seconds) };
    this.#nextMs = seconds * 1000;
    this.#pingAt = this.#pingedAt + this.#nextMs;
  }

  /** When `isPingDue` or `isDead` becomes true next. */
  get deadline() {
    return this.#unansweredSince === null ? this.#pingAt : this.#unansweredSince + this.#pongTimeoutMs;
  }

  /** How long the connection had been silent before the ping that waits for its answer; null if none does. */
  get unansweredQuietMs() {
    return this.#unansweredSince === null ? null : this.#quietMs;
  }

  isPingDue(now) {
    return this.#unansweredSince === null && now >= this.#pingAt;
  }

  isDead(now) {
    return this.#unansweredSince !== null && now >= this.#unansweredSince + this.#pongTimeoutMs;
  }

  pingSent(now) {
    if (this.#unansweredSince === null) {
      this.#unansweredSince = now;
      this.#quietMs = now - this.#trafficAt;
    }
    this.#pingedAt = now;
    this.#pingAt = now + this.#nextMs;
    this.#trafficAt = now;
  }

  /** Something else than a ping goes out: whatever is on the way keeps the connection in mind as well as a ping does. */
  sent(now) {
    this.#trafficAt = now;
  }

  /**
   * Anything that the server sends proves it alive, not only a pong.
   *
   * @returns {number | null} the silence that the connection has survived by this, in milliseconds; null if no ping was waiting
   */
  received(now) {
    const quietMs = this.unansweredQuietMs;
    this.#unansweredSince = null;
    this.#trafficAt = now;
    return quietMs;
  }
}
