/**
 * One connection's conversation with the gateway, without the connection: text in, events out, `now` an argument
 * (monotonic milliseconds). Knows no socket, no timer, no storage.
 *
 *     const session = new Session({ hello, seen, acks, limits, now });
 *     session.opened(now);                    // the WebSocket is open: hello goes out
 *     for (const event of session.receive(text, now)) …
 *     for (const event of session.tick(now)) …   // at session.deadline, or later
 *     for (const text of session.takeOutgoing()) socket.send(text);
 *
 * Events: `welcome`, `push` (not seen before), `recall`, `migrate`, `config`, `reply`, `error`, `bye`, each with its frame's
 * fields; `undecodable {id, why}`; `failed {reason}`: the connection is of no use any more, close it and reconnect.
 */

import { FrameError, VERSION, decodeServer, encode } from "./codec.js";
import { Heartbeat } from "./heartbeat.js";

export const DEFAULT_LIMITS = Object.freeze({
  /** From the start of the dial until the WebSocket is open. */
  connectMs: 15_000,
  /** From hello until welcome. */
  welcomeMs: 15_000,
  /** From a ping until anything comes. */
  pongMs: 10_000,
});

const State = Object.freeze({ DIALLING: "dialling", GREETING: "greeting", LIVE: "live", OVER: "over" });

export class Session {
  /** @type {"dialling" | "greeting" | "live" | "over"} */
  #state = State.DIALLING;
  #hello;
  /** The hello as it was sent. */
  #greeting;
  #seen;
  #acks;
  #limits;
  #topics;
  #deadline;
  #heartbeat = null;
  #adaptive;
  #mark = null;
  #outgoing = [];
  #maxFrame = 65_536;

  /**
   * @param {object} options
   * @param {object} options.hello fields of the hello frame
   * @param {{has(id: string): boolean}} options.seen ids that were shown
   * @param {import("./acks.js").Acks} options.acks
   * @param {typeof DEFAULT_LIMITS} [options.limits]
   * @param {import("./topics.js").Topics} [options.topics] what the server is told of after its welcome
   * @param {import("./adaptive.js").AdaptiveHeartbeat | null} [options.adaptive] learns how long the interval between pings may be;
   *   without it the interval is what hello wishes, or the server's
   * @param {number} options.now
   */
  constructor({ hello, seen, acks, limits = DEFAULT_LIMITS, adaptive = null, topics = null, now }) {
    this.#hello = hello;
    this.#greeting = hello;
    this.#seen = seen;
    this.#acks = acks;
    this.#limits = limits;
    this.#topics = topics;
    this.#adaptive = adaptive;
    this.#deadline = now + limits.connectMs;
  }

  get isLive() {
    return this.#state === State.LIVE;
  }

  /** When `tick` has something to do; null if never. */
  get deadline() {
    if (this.#state === State.OVER) return null;
    if (this.#state !== State.LIVE) return this.#deadline;
    return Math.min(this.#heartbeat.deadline, this.#acks.dueAt ?? Infinity);
  }

  opened(now) {
    if (this.#state !== State.DIALLING) return;
    this.#state = State.GREETING;
    this.#deadline = now + this.#limits.welcomeMs;
    this.#greeting = this.#hello;
    this.#outgoing.push({ type: "hello", ...this.#hello });
  }

  /** What one WebSocket message means. @param {unknown} text @param {number} now */
  receive(text, now) {
    if (this.#state === State.OVER) return [];
    let frames;
    try {
      frames = decodeServer(text);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      return [this.#fail(`not a frame: ${error.message}`)];
    }
    const quietMs = this.#heartbeat?.received(now) ?? null;
    if (quietMs !== null) this.#adaptive?.answered(this.#hello.network, quietMs / 1000);
    const events = [];
    for (const frame of frames) {
      const event = this.#take(frame, now);
      if (event !== null) events.push(event);
      if (event?.type === "bye" || event?.type === "failed") break;
    }
    return events;
  }

  /** Do what is due: an ack batch, a ping, or giving up. */
  tick(now) {
    if (this.#state === State.OVER) return [];
    if (this.#state !== State.LIVE) {
      if (now < this.#deadline) return [];
      return [this.#fail(this.#state === State.DIALLING ? "no connection in time" : "no welcome in time")];
    }
    if (this.#heartbeat.isDead(now)) {
      this.lost(now);
      return [this.#fail("no answer to a ping")];
    }
    if (this.#acks.dueAt !== null && now >= this.#acks.dueAt) {
      this.flush();
      this.#heartbeat.sent(now);
    }
    if (this.#heartbeat.isPingDue(now)) this.ping(now);
    return [];
  }

  /** The connection is gone without a word. If a ping was waiting for its answer, the silence before it may have been the reason. */
  lost(now) {
    const quietMs = this.#state === State.LIVE ? this.#heartbeat.unansweredQuietMs : null;
    if (quietMs !== null) this.#adaptive?.lost(this.#hello.network, quietMs / 1000, now);
    this.#state = State.OVER;
  }

  /** Send waiting acks now. */
  flush() {
    if (this.#state === State.LIVE && this.#acks.dueAt !== null) this.#outgoing.push(...this.#acks.take());
  }

  /** Ask for a sign of life now; the answer confirms the reports that were sent before. */
  ping(now) {
    if (this.#state !== State.LIVE) return;
    this.flush();
    // An earlier ping may still be unanswered: the next pong is for that one.
    this.#mark ??= this.#acks.mark;
    this.#adapt();
    this.#outgoing.push({ type: "ping", next: this.#heartbeat.nextS });
    this.#heartbeat.pingSent(now);
  }

  /**
   * Wish another interval between pings, and learn none from now on; the server hears of it at once, or once it said welcome.
   *
   * @param {number} seconds
   */
  setHeartbeat(seconds, now) {
    this.#adaptive = null;
    this.#hello = { ...this.#hello, heartbeat: seconds };
    if (this.#state === State.LIVE && this.#heartbeat.wish(seconds)) this.ping(now);
  }

  /** Tell the server, now or once it said welcome, that the application went to the foreground or background. @param {"foreground" | "background"} app */
  setState(app, now) {
    this.#hello = { ...this.#hello, state: app };
    if (this.#state !== State.LIVE) return;
    this.#outgoing.push({ type: "state", app });
    this.#heartbeat.sent(now);
    this.#adapt();
  }

  /** Tell the server of what changed in `topics`; before its welcome there is no need to. @param {import("./codec.js").Frame[]} frames */
  tell(frames) {
    if (this.#state === State.LIVE) this.#outgoing.push(...frames);
  }

  /** The WebSocket messages to send, in order: frames together as far as the server's limit allows. @returns {string[]} */
  takeOutgoing() {
    const messages = [];
    for (const frame of this.#outgoing) {
      const line = encode([frame]);
      const last = messages.length - 1;
      // Acks of a long offline time would together be refused as too large (1009), again on every connection.
      if (last >= 0 && messages[last].length + line.length < this.#maxFrame) messages[last] += `\n${line}`;
      else messages.push(line);
    }
    this.#outgoing = [];
    return messages;
  }

  #take(frame, now) {
    if (frame.type === "bye") {
      this.#state = State.OVER;
      return frame;
    }
    if (this.#state === State.LIVE) return this.#takeLive(frame, now);
    if (frame.type !== "welcome") return null;
    if (frame.version !== VERSION) return this.#fail(`the server chose version ${frame.version}, which was not offered`);
    this.#state = State.LIVE;
    this.#maxFrame = frame.max_frame;
    this.#heartbeat = new Heartbeat(frame.heartbeat, this.#limits.pongMs, now);
    this.#adaptive?.welcomed(this.#hello.network, frame.heartbeat, now);
    this.#adapt();
    this.#acks.reopen(frame.window, now);
    this.flush();
    this.#outgoing.push(...(this.#topics?.all() ?? []));
    // What the application changed while hello was on its way.
    if (this.#hello.state !== this.#greeting.state) this.setState(this.#hello.state, now);
    if (this.#hello.heartbeat !== this.#greeting.heartbeat) this.setHeartbeat(this.#hello.heartbeat, now);
    return frame;
  }

  #takeLive(frame, now) {
    switch (frame.type) {
      case "push":
        if (!this.#seen.has(frame.id)) return frame;
        // Its ack was lost, or it took another road as well: say so again, show nothing.
        this.#acks.add(frame.id, "received", now);
        return null;
      case "undecodable":
        this.#acks.add(frame.id, "undecodable", now);
        return frame;
      case "pong":
        if (this.#mark !== null) this.#acks.confirm(this.#mark);
        this.#mark = null;
        if (frame.next !== null) {
          this.#heartbeat.told(frame.next);
          this.#adaptive?.bounded(this.#heartbeat.bounds);
        }
        return null;
      case "welcome": // a second one changes nothing
      case "unknown": // clients ignore unknown frames
        return null;
      default:
        return frame;
    }
  }

  /** Take over what is known by now of the interval that this network bears. */
  #adapt() {
    if (this.#adaptive === null) return;
    this.#heartbeat.wish(this.#adaptive.intervalS(this.#hello.network, { foreground: this.#hello.state === "foreground" }));
  }

  #fail(reason) {
    this.#state = State.OVER;
    return { type: "failed", reason };
  }
}
