/**
 * What the page knows of messages: those it sent, and those its device received (so that one sent with curl is listed too).
 * Asks the API for their states each second, but only while one is open and somebody looks.
 */

import { isOpen, isSettled } from "./states.js";

const POLL_MS = 1_000;
/** The first look after something happened: most pushes are acknowledged by then. */
const SOON_MS = 250;
/** A message that the device has may still move to displayed or clicked; it is watched this long after anything happened. */
const LIVELY_MS = 5_000;
const LONGEST_POLL_MS = 15_000;
const LIMIT = 100;

export class Ledger {
  #api;
  #onChange;
  #onTrouble;
  /** @type {Map<string, object>} oldest first */
  #messages = new Map();
  #livelyUntil = 0;
  #timer = null;
  #polling = false;
  #soon = false;
  #failures = 0;

  /**
   * @param {import("./api.js").Api} api
   * @param {(messages: object[]) => void} onChange newest first
   * @param {(error: Error | null) => void} onTrouble the API can't be asked; null: it can again
   */
  constructor(api, onChange, onTrouble) {
    this.#api = api;
    this.#onChange = onChange;
    this.#onTrouble = onTrouble;
    document.addEventListener("visibilitychange", () => this.stir());
  }

  /** What earlier visits of the page sent. */
  async load() {
    try {
      const entries = await this.#api.messages();
      for (const entry of entries.reverse()) this.#take(entry);
    } catch (error) {
      this.#failures += 1;
      this.#onTrouble(error);
    }
    this.#changed();
    this.stir();
  }

  /** A message that the page sent or the device received. */
  add(id, { title = null, priority = "normal", target = "", sent = Date.now() }) {
    if (!this.#messages.has(id)) {
      this.#messages.set(id, { id, title, priority, target, sent, state: "accepted", reason: null, recalledAt: null, channel: null });
      while (this.#messages.size > LIMIT) this.#messages.delete(this.#messages.keys().next().value);
      this.#changed();
    }
    this.stir();
  }

  async recall(id) {
    this.#update(id, await this.#api.recall(id));
    this.#changed();
    this.stir();
  }

  /** Something happened that may move a state: look soon, and for a while. */
  stir() {
    this.#livelyUntil = Date.now() + LIVELY_MS;
    if (!this.#soon) {
      this.#soon = true;
      clearTimeout(this.#timer);
      this.#timer = null;
    }
    this.#schedule();
  }

  #schedule() {
    if (this.#timer !== null || this.#polling || document.hidden) return;
    const watched = this.#watched();
    const lively = Date.now() < this.#livelyUntil;
    if (watched.length === 0 || !(lively || watched.some(({ state }) => isOpen(state)))) return;
    const wait = this.#soon && this.#failures === 0 ? SOON_MS : Math.min(LONGEST_POLL_MS, POLL_MS * 2 ** this.#failures);
    this.#timer = setTimeout(() => this.#poll(), wait);
  }

  #watched() {
    return [...this.#messages.values()].filter(({ state }) => !isSettled(state));
  }

  async #poll() {
    this.#timer = null;
    this.#soon = false;
    if (document.hidden) return;
    const watched = this.#watched();
    if (watched.length === 0) return;
    this.#polling = true;
    try {
      for (const entry of await this.#api.messages(watched.map(({ id }) => id))) this.#take(entry);
      if (this.#failures > 0) this.#onTrouble(null);
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      this.#onTrouble(error);
    }
    this.#polling = false;
    this.#changed();
    this.#schedule();
  }

  #take({ id, summary, message }) {
    if (!this.#messages.has(id)) {
      if (summary === null) return;
      this.#messages.set(id, { id, ...summary, state: "accepted", reason: null, recalledAt: null, channel: null });
    }
    // A store that can't answer for a moment leaves the last known state.
    if (message !== null) this.#update(id, message);
  }

  #update(id, { state, reason, recalled_at: recalledAt, deliveries }) {
    const known = this.#messages.get(id);
    if (known === undefined) return;
    const delivery = deliveries?.find((one) => one.state === state) ?? deliveries?.[0];
    this.#messages.set(id, {
      ...known,
      state,
      reason: reason ?? delivery?.reason ?? null,
      recalledAt: recalledAt ?? null,
      channel: delivery?.channel ?? null,
      target: known.target || delivery?.device || "",
    });
  }

  #changed() {
    this.#onChange([...this.#messages.values()].reverse());
  }
}
