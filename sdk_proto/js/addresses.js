/**
 * Which gateway address the next attempt goes to (PROTOCOL.md §5, "Migrate", and §6). Pure; dials nothing.
 */

export class Addresses {
  #home;
  #list;
  #at = 0;

  /** @param {string | string[]} urls where to connect, in order of preference */
  constructor(urls) {
    this.#home = [urls].flat();
    if (this.#home.length === 0) throw new TypeError("no gateway url");
    for (const url of this.#home) schemeOf(url);
    this.#list = this.#home;
  }

  get next() {
    return this.#list[this.#at];
  }

  /** The attempt at `next` got no welcome: try the following one; a detour whose addresses all failed is given up. */
  failed() {
    this.#at += 1;
    if (this.#at < this.#list.length) return;
    this.#at = 0;
    this.#list = this.#home;
  }

  /** The attempt at `next` was welcomed. A detour is for one connection: the one after it goes home again. */
  reached() {
    if (this.#list === this.#home) return;
    this.#list = this.#home;
    this.#at = 0;
  }

  /** Told to go elsewhere without an address: the following one of ours. */
  elsewhere() {
    if (this.#list === this.#home) this.#at = (this.#at + 1) % this.#home.length;
  }

  /**
   * Told where to go. An address without TLS is not taken from one with it: nobody may talk a phone down to plain text.
   *
   * @param {{urls: string[], permanent: boolean}} migrate
   */
  migrate({ urls, permanent }) {
    const secure = this.#home.every((url) => schemeOf(url) === "wss:");
    const usable = urls.filter((url) => isUsable(url, secure));
    if (usable.length === 0) {
      this.elsewhere();
      return;
    }
    this.#list = usable;
    this.#at = 0;
    if (permanent) this.#home = usable;
  }
}

function schemeOf(url) {
  const { protocol } = new URL(url);
  if (protocol !== "ws:" && protocol !== "wss:") throw new TypeError(`not a WebSocket url: ${url}`);
  return protocol;
}

function isUsable(url, secure) {
  try {
    const scheme = schemeOf(url);
    return !secure || scheme === "wss:";
  } catch {
    return false;
  }
}
