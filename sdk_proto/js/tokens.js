/**
 * The device token in use, and how to get another (PROTOCOL.md §6, 4200–4299). Knows nothing of what is in a token.
 */

/** A provider that hasn't answered by then has failed; the client tries again with backoff. */
const PROVIDER_TIMEOUT_MS = 30_000;

export class Tokens {
  #provider;
  #clock;
  #token;
  #code = null;

  /**
   * @param {string | ((why: {code: number | null}) => string | Promise<string>)} source
   * @param {import("./options.js").Clock} clock
   */
  constructor(source, clock) {
    this.#provider = typeof source === "function" ? source : null;
    this.#token = typeof source === "string" ? source : null;
    this.#clock = clock;
  }

  /** Whether a refused token can be followed by another. */
  get canRenew() {
    return this.#provider !== null;
  }

  /** @returns {Promise<string>} @throws what the provider throws, or an Error when it takes too long or gives no token */
  async get() {
    if (this.#token !== null) return this.#token;
    const token = await this.#inTime(this.#provider({ code: this.#code }));
    if (typeof token !== "string" || token === "") throw new TypeError("the token provider gave no token");
    this.#token = token;
    return token;
  }

  /** The server closed with `code`: the token is of no use any more. */
  refuse(code) {
    if (this.#provider !== null) this.#token = null;
    this.#code = code;
  }

  async #inTime(promise) {
    let timer;
    const deadline = new Promise((_, reject) => {
      timer = this.#clock.setTimeout(
        () => reject(new Error(`the token provider took over ${PROVIDER_TIMEOUT_MS / 1000} s`)),
        PROVIDER_TIMEOUT_MS,
      );
    });
    try {
      return await Promise.race([promise, deadline]);
    } finally {
      this.#clock.clearTimeout(timer);
    }
  }
}
