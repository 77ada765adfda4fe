/**
 * How long a connection may be silent before the network forgets it: learned, for each network.
 * PROTOCOL.md §5, "Adaptive heartbeat". Pure: what is known is how long it had been silent when a ping was answered, or was not.
 * `adaptive.py` says where the rules come from and is the same; `vectors/heartbeat.json` holds both to it.
 */

/** Where a network that isn't known begins, and the longest in the foreground. Everything here is in seconds. */
const START_S = 210;
const LONGEST_S = 600;
const STEP_S = 60;
/** Kept below what was answered, once it is known that there is an end to it. */
const MARGIN_S = 20;
/** What a pong may take, and a timer may be late. */
const SLACK_S = 10;
/** In a row, and an interval counts as good. */
const ANSWERS = 3;
/** In a row, and an interval that is not a probe counts as too long. */
const LOSSES = 2;
/** Answers at rest before a bound is tried again: about 6 hours; doubled each time that it holds. */
const PROBE_AFTER = 100;
const PROBE_AFTER_MOST = 1_600;
/** A loss counts if the client was welcomed again within so long. */
const BACK_S = 30;
/** Remembered; the one that was used longest ago goes first. */
const NETWORKS = 16;

/** What is used until a server has said otherwise in `welcome.heartbeat`. */
const DEFAULT_BOUNDS = Object.freeze({ min: 60, max: 600 });

/** What is known of one network. */
class Learned {
  /**
   * @param {number[]} [stored] `target` is in use in the background; `good` the longest that was answered ANSWERS times in a row
   *   (0: none yet), `bound` the shortest that lost the connection (0: none yet), `patience` how many answers at rest the next
   *   probe waits for; `settled`: at rest
   */
  constructor([target, good, bound, answers, losses, patience, settled] = [START_S, 0, 0, 0, 0, PROBE_AFTER, 0]) {
    this.target = target;
    this.good = good;
    this.bound = bound;
    this.answers = answers;
    this.losses = losses;
    this.patience = patience;
    this.settled = settled !== 0;
  }

  get listed() {
    return [this.target, this.good, this.bound, this.answers, this.losses, this.patience, this.settled ? 1 : 0];
  }

  /** A ping was answered after `quietS` of silence; intervals are kept between `shortest` and `longest`. */
  answered(quietS, shortest, longest) {
    const at = Math.max(this.target, shortest);
    if (at > longest || quietS + SLACK_S < at) return;
    this.losses = 0;
    this.answers += 1;
    if (this.settled) {
      this.#probe(at, longest);
    } else if (this.answers >= ANSWERS) {
      this.answers = 0;
      this.good = at;
      if (this.bound && at >= this.bound) {
        this.bound = 0;
        this.patience = PROBE_AFTER;
      }
      const higher = Math.min(at + STEP_S, longest);
      if (higher > at && (!this.bound || higher < this.bound)) this.target = higher;
      else this.#settle();
    }
  }

  /** A ping after `quietS` of silence was not answered. */
  lost(quietS, shortest, longest) {
    let at = Math.min(Math.max(this.target, shortest), longest);
    const attentive = Math.min(at, Math.max(START_S, shortest));
    // Too short to tell of the network's memory, or the device slept.
    if (quietS + SLACK_S < attentive || quietS > at + SLACK_S) return;
    if (quietS + SLACK_S < at) at = attentive;
    this.answers = 0;
    if (this.good && at > this.good) {
      if (this.bound) this.patience = Math.min(this.patience * 2, PROBE_AFTER_MOST);
      this.bound = at;
      this.#settle();
      return;
    }
    this.losses += 1;
    if (this.losses >= LOSSES) {
      this.losses = 0;
      this.bound = at;
      this.good = 0;
      this.settled = false;
      this.target = Math.max(at - STEP_S, shortest);
    }
  }

  #settle() {
    this.settled = true;
    this.target = this.bound ? this.good - MARGIN_S : this.good;
  }

  #probe(at, longest) {
    const higher = this.bound || Math.min(this.good + STEP_S, longest);
    if (at < higher && higher <= longest && (!this.bound || this.answers >= this.patience)) {
      this.settled = false;
      this.answers = 0;
      this.target = higher;
    }
  }
}

/** All networks of one device, by the label that its hello gives them (none is a label too). `now` is monotonic milliseconds. */
export class AdaptiveHeartbeat {
  /** @type {Map<string, Learned>} the newest last */
  #networks;
  #bounds = DEFAULT_BOUNDS;
  /** A loss that may or may not count. */
  #doubt = null;
  #dirty = false;

  /** @param {string | null} [stored] what `takeChanged` gave once; what can't be read is learned again */
  constructor(stored = null) {
    this.#networks = parse(stored);
  }

  /** Seconds between pings, for now. In the foreground never over START_S: somebody looks, and nothing is tried. */
  intervalS(network, { foreground }) {
    const { target } = this.#networks.get(network ?? "") ?? new Learned();
    const wish = foreground ? Math.min(target, START_S) : target;
    return Math.min(Math.max(wish, this.#bounds.min), this.#longest);
  }

  /** What the server allows from now on. @param {{min: number, max: number}} bounds */
  bounded(bounds) {
    this.#bounds = bounds;
  }

  /** Signed in: if it was soon after a loss, and on the same network, then it was the silence that cost the connection. */
  welcomed(network, bounds, now) {
    this.bounded(bounds);
    const name = network ?? "";
    const learned = this.#networks.get(name) ?? new Learned();
    this.#networks.delete(name);
    this.#networks.set(name, learned);
    while (this.#networks.size > NETWORKS) this.#networks.delete(this.#networks.keys().next().value);
    const doubt = this.#doubt;
    this.#doubt = null;
    if (doubt !== null && doubt.name === name && now - doubt.at <= BACK_S * 1000) {
      learned.lost(doubt.quietS, this.#bounds.min, this.#longest);
      this.#dirty = true;
    }
  }

  answered(network, quietS) {
    const learned = this.#networks.get(network ?? "");
    if (learned === undefined) return;
    const before = `${[learned.target, learned.good, learned.settled, learned.losses]}`;
    learned.answered(quietS, this.#bounds.min, this.#longest);
    // Not each answer is worth a write to the disk.
    if (before !== `${[learned.target, learned.good, learned.settled, learned.losses]}` || learned.answers % 10 === 9) this.#dirty = true;
  }

  /** A ping after `quietS` of silence was not answered, or the connection was gone before it could be. */
  lost(network, quietS, now) {
    this.#doubt = { name: network ?? "", quietS, at: now };
  }

  /** What should be stored, if it is worth it since the last call. @returns {string | null} */
  takeChanged() {
    if (!this.#dirty) return null;
    this.#dirty = false;
    return JSON.stringify([...this.#networks].map(([name, learned]) => [name, ...learned.listed]));
  }

  get #longest() {
    return Math.max(this.#bounds.min, Math.min(LONGEST_S, this.#bounds.max));
  }
}

function parse(stored) {
  try {
    const sound = JSON.parse(stored ?? "[]").filter(isSound).slice(-NETWORKS);
    return new Map(sound.map(([name, ...values]) => [name, new Learned(values)]));
  } catch {
    return new Map();
  }
}

function isSound(entry) {
  if (!Array.isArray(entry) || entry.length !== 8 || typeof entry[0] !== "string") return false;
  const [target, good, , , , patience, settled] = entry.slice(1);
  if (!entry.slice(1).every((number) => Number.isInteger(number) && number >= 0 && number <= 86_400)) return false;
  return target > 0 && patience > 0 && (settled === 0 || good > 0);
}
