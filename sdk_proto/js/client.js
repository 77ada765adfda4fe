/**
 * A device that stays connected: dials, signs in, reconnects as the close codes order, hands each push to the application
 * once and acks it. What to do is decided by the pure parts beside this file; here are the one timer and the sockets.
 */

import { Acks } from "./acks.js";
import { AdaptiveHeartbeat } from "./adaptive.js";
import { Addresses } from "./addresses.js";
import { Backoff } from "./backoff.js";
import { CloseCode, Order, orderOf } from "./close.js";
import { VERSION, isId } from "./codec.js";
import { Delivery } from "./delivery.js";
import { Identity } from "./identity.js";
import { Seen } from "./seen.js";
import { SDK, withDefaults } from "./options.js";
import { Session } from "./session.js";
import { Tokens } from "./tokens.js";
import { Topics } from "./topics.js";
import { ABNORMAL, Transport } from "./transport.js";

/** A connection that lived this long has shown that the address works: the next backoff starts small again. */
const STABLE_MS = 10_000;
/** The longest that a timer can wait (browsers and Node take 31 bits); whatever is later is looked at again then. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class Client {
  #options;
  #clock;
  #random;
  #seen;
  #identity;
  #tokens;
  #addresses;
  #backoff;
  #delivery;
  #acks = new Acks();
  #topics = new Topics();
  #adaptive = new AdaptiveHeartbeat();
  /** Where `#adaptive` is kept. */
  #learnedKey;

  /** @type {Link | null} the welcomed connection */
  #current = null;
  /** @type {Link | null} a connection that isn't welcomed yet; beside a current one during a migration */
  #candidate = null;
  /** Rises with every start and stop: what began before it has no say any more. */
  #life = 0;
  #running = false;
  #dialling = false;
  #dialAt = null;
  #notBefore = 0;
  #timer = null;
  #serverAhead = 0;
  /** @type {import("./options.js").Status} */
  #status = { state: "offline", session: null, code: null, reason: "", retryMs: null, pending: 0 };

  /** @param {import("./options.js").Options} options @throws {TypeError} naming the option that can't be used */
  constructor(options) {
    this.#options = withDefaults(options);
    const { app, device, url, token, onPush, handlerTries, store, clock, random } = this.#options;
    this.#clock = clock;
    this.#random = random;
    const owner = `${app}/${device}`;
    this.#seen = new Seen(store, owner);
    this.#learnedKey = `heartbeats:${owner}`;
    this.#identity = new Identity(store, owner);
    this.#tokens = new Tokens(token, clock);
    this.#addresses = new Addresses(url);
    this.#backoff = new Backoff(random);
    this.#delivery = new Delivery({
      handler: onPush,
      tries: handlerTries,
      seen: this.#seen,
      settle: (id, status) => this.#ack(id, status),
      report: (kind, error, id) => this.#tell("onError", { kind, error, id }),
    });
  }

  /** @returns {import("./options.js").Status} */
  get status() {
    return this.#status;
  }

  /** Connect, and stay connected. Resolves once what an earlier run remembered is read. */
  async start() {
    if (this.#running) return;
    this.#running = true;
    this.#life += 1;
    const life = this.#life;
    this.#backoff.reset();
    this.#notBefore = 0;
    this.#show({ state: "connecting", code: null, reason: "" });
    try {
      await this.#seen.load();
      this.#adaptive = new AdaptiveHeartbeat(await this.#options.store.get(this.#learnedKey));
    } catch (error) {
      this.#tell("onError", { kind: "store", error });
    }
    if (life === this.#life) this.#dial();
  }

  /** Disconnect and stay so. Acks that wait are sent first, what can't be sent is kept for the next `start()`. */
  stop() {
    if (!this.#running) return;
    this.#current?.session.flush();
    this.#send(this.#current);
    this.#end();
    this.#show({ state: "offline", code: null, reason: "" });
  }

  /** Report that the notification was shown. @param {string} id */
  displayed(id) {
    this.#ack(id, "displayed");
  }

  /** Report that the user opened it. @param {string} id */
  clicked(id) {
    this.#ack(id, "clicked");
  }

  /** Tell the server that the application went to the foreground or background. @param {"foreground" | "background"} state */
  setState(state) {
    this.#options.state = state;
    for (const link of [this.#current, this.#candidate]) link?.session.setState(state, this.#clock.now());
    this.#pump();
  }

  /** Wish a number of seconds between pings, within the server's bounds, instead of the one that is learned. @param {number} seconds */
  setHeartbeat(seconds) {
    this.#options.heartbeat = seconds;
    for (const link of [this.#current, this.#candidate]) link?.session.setHeartbeat(seconds, this.#clock.now());
    this.#pump();
  }

  /**
   * Have what is sent to these topics, now and on each later connection. What the server does not allow comes to `onError` (`server`).
   * @param {...string} topics @throws {TypeError} for what can't be a topic
   */
  subscribe(...topics) {
    this.#tellOf(this.#topics.want(topics));
  }

  /** @param {...string} topics */
  unsubscribe(...topics) {
    this.#tellOf(this.#topics.drop(topics));
  }

  #tellOf(frames) {
    for (const link of [this.#current, this.#candidate]) link?.session.tell(frames);
    this.#pump();
  }

  /**
   * The network changed, or the machine woke up: don't wait for timers; try, or find out whether the connection lives.
   *
   * @param {string} [network] label of the one that there is now, if it is known; what is learned of heartbeats is learned for each
   */
  wake(network) {
    const now = this.#clock.now();
    if (network !== undefined) this.#options.network = network; // a connection stays on the network that it was made on
    if (this.#current !== null) this.#current.session.ping(now);
    else if (this.#dialAt !== null) this.#dialAt = Math.min(this.#dialAt, Math.max(now, this.#notBefore));
    this.#tick();
  }

  // ── dialling ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async #dial() {
    this.#dialAt = null;
    if (this.#dialling || this.#candidate !== null) return;
    const life = this.#life;
    this.#dialling = true;
    if (this.#current === null && this.#status.state !== "connecting") this.#show({ state: "connecting" });
    let token;
    try {
      token = await this.#tokens.get();
    } catch (error) {
      if (life !== this.#life) return;
      this.#dialling = false;
      this.#tell("onError", { kind: "token", error });
      this.#retry(0);
      return;
    }
    const identity = await this.#identity.nextAttempt((error) => this.#tell("onError", { kind: "store", error }));
    if (life !== this.#life) return;
    this.#dialling = false;
    this.#open(token, identity);
  }

  #open(token, { install, attempt }) {
    const { app, device, window, state, network, features, limits } = this.#options;
    const adaptive = this.#options.heartbeat === undefined ? this.#adaptive : null;
    const heartbeat = this.#options.heartbeat ?? this.#adaptive.intervalS(network, { foreground: state === "foreground" });
    const hello = { app, device, token, versions: [VERSION], install, attempt, heartbeat, window, state, sdk: SDK, network, features };
    const session = new Session({ hello, seen: this.#seen, acks: this.#acks, limits, adaptive, topics: this.#topics, now: this.#clock.now() });
    const link = { session, transport: null, welcomedAt: null };
    this.#candidate = link;
    try {
      link.transport = this.#transport(link);
    } catch (error) {
      // A browser refuses some addresses outright: ws:// from a page that came by https.
      this.#candidate = null;
      this.#addresses.failed();
      this.#tell("onError", { kind: "dial", error });
      this.#retry(0);
    }
    this.#arm();
  }

  #transport(link) {
    const { session } = link;
    const handlers = {
      onOpen: () => {
        session.opened(this.#clock.now());
        this.#pump();
      },
      onText: (text) => {
        this.#handle(link, session.receive(text, this.#clock.now()));
        this.#pump();
      },
      onClose: (code, reason) => this.#lost(link, { code, reason, retry_after_ms: 0 }),
    };
    return new Transport(this.#addresses.next, handlers, this.#options.WebSocket);
  }

  #retry(retryAfterMs) {
    const now = this.#clock.now();
    this.#notBefore = now + retryAfterMs;
    this.#dialAt = this.#notBefore + this.#backoff.nextMs();
    if (this.#current === null) this.#show({ state: "waiting", retryMs: this.#dialAt - now });
    this.#arm();
  }

  // ── what the sessions say ─────────────────────────────────────────────────────────────────────────────────────────

  #handle(link, events) {
    for (const event of events) {
      // A connection that was replaced has no say, whatever comes on it.
      if (link !== this.#current && link !== this.#candidate) return;
      this.#on(link, event);
    }
  }

  /** @param {Link} link @param {import("./codec.js").Frame} frame */
  #on(link, frame) {
    const { type, ...fields } = frame;
    const event = /** @type {any} */ (fields);
    switch (type) {
      case "welcome":
        return this.#welcomed(link, event);
      case "push":
        return this.#delivery.push(event, this.#serverNow);
      case "recall":
        this.#tell("onRecall", event.id);
        return this.#delivery.recall(event.id, this.#serverNow);
      case "migrate":
        this.#addresses.migrate(event);
        this.#dialAt = this.#clock.now() + event.after_ms + this.#random() * event.spread_ms;
        return undefined;
      case "bye":
        return this.#lost(link, event);
      case "failed":
        return this.#lost(link, { code: null, reason: event.reason, retry_after_ms: 0 });
      case "config":
        return this.#tell("onConfig", event);
      case "error":
        return this.#tell("onError", { kind: "server", error: event });
      case "undecodable":
        return this.#tell("onError", { kind: "undecodable", error: event.why, id: event.id });
      default:
        return undefined;
    }
  }

  #welcomed(link, welcome) {
    const replaced = this.#current;
    this.#current = link;
    this.#candidate = null;
    this.#dialAt = null;
    replaced?.transport.close();
    link.welcomedAt = this.#clock.now();
    this.#serverAhead = welcome.time - link.welcomedAt;
    this.#addresses.reached();
    this.#backoff.configure(welcome.reconnect);
    this.#show({ state: "online", session: welcome.session, pending: welcome.pending });
  }

  #lost(link, { code, reason, retry_after_ms: retryAfterMs }) {
    if (link !== this.#current && link !== this.#candidate) return;
    if (code === null || code === ABNORMAL) link.session.lost(this.#clock.now());
    link.transport.close();
    const now = this.#clock.now();
    if (link === this.#candidate) {
      this.#candidate = null;
      this.#addresses.failed();
    } else {
      this.#current = null;
      if (now - link.welcomedAt >= STABLE_MS) this.#backoff.reset();
    }
    let order = orderOf(code);
    if (order === Order.NEW_TOKEN) {
      this.#tokens.refuse(code);
      // A fixed token stays refused: asking again would never end.
      if (!this.#tokens.canRenew) order = Order.STOP;
    }
    if (order === Order.STOP) {
      this.#end();
      this.#show({ state: "stopped", code, reason });
      this.#tell("onStop", { code, reason });
      return;
    }
    if (order === Order.ELSEWHERE && this.#dialAt === null) this.#addresses.elsewhere();
    // The predecessor still serves, or the successor has been let in already and is about to hear so: both keep the state that is shown.
    const succeeded = this.#candidate !== null && code === CloseCode.SUPERSEDED;
    if (this.#current === null && !succeeded) this.#show({ state: "connecting", code, reason, session: null });
    if (this.#candidate === null && !this.#dialling) this.#retry(retryAfterMs);
  }

  #end() {
    this.#running = false;
    this.#life += 1;
    this.#dialling = false;
    this.#dialAt = null;
    for (const link of [this.#current, this.#candidate]) link?.transport.close();
    this.#current = null;
    this.#candidate = null;
    this.#arm();
  }

  // ── time and the wire ─────────────────────────────────────────────────────────────────────────────────────────────

  get #serverNow() {
    return Math.round(this.#clock.now() + this.#serverAhead);
  }

  #ack(id, status) {
    if (!isId(id)) throw new TypeError(`not a message id: ${id}`);
    this.#acks.add(id, status, this.#clock.now());
    this.#arm();
  }

  #send(link) {
    for (const text of link?.session.takeOutgoing() ?? []) link.transport.send(text);
  }

  #pump() {
    this.#send(this.#current);
    this.#send(this.#candidate);
    const learned = this.#adaptive.takeChanged();
    if (learned !== null) this.#keep(learned);
    this.#arm();
  }

  /** Nobody waits for it: losing it costs a few hours of learning. */
  async #keep(learned) {
    try {
      await this.#options.store.set(this.#learnedKey, learned);
    } catch (error) {
      this.#tell("onError", { kind: "store", error });
    }
  }

  #arm() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    const deadlines = [this.#current?.session.deadline, this.#candidate?.session.deadline, this.#dialAt];
    const next = Math.min(...deadlines.map((deadline) => deadline ?? Infinity));
    if (next === Infinity) return;
    const wait = Math.min(LONGEST_TIMER_MS, Math.max(0, Math.ceil(next - this.#clock.now())));
    this.#timer = this.#clock.setTimeout(() => this.#tick(), wait);
  }

  #tick() {
    const now = this.#clock.now();
    for (const link of [this.#current, this.#candidate]) {
      if (link !== null) this.#handle(link, link.session.tick(now));
    }
    if (this.#dialAt !== null && now >= this.#dialAt) this.#dial();
    this.#pump();
  }

  #show(change) {
    this.#status = Object.freeze({ ...this.#status, retryMs: null, pending: 0, ...change });
    this.#tell("onStatus", this.#status);
  }

  /** Call the application. What it throws is its own: it must not end the connection. */
  #tell(name, argument) {
    try {
      this.#options[name]?.(argument);
    } catch (error) {
      if (name === "onError") console.error("taco: onError threw", error);
      else this.#tell("onError", { kind: "callback", error });
    }
  }
}

/**
 * @typedef {object} Link
 * @property {Session} session
 * @property {Transport} transport
 * @property {number | null} welcomedAt
 */
