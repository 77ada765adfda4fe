/** A gateway of the tests' own: every WebSocket that the client opens is a line in `sockets`, driven by hand. */

import { Client, MemoryStore } from "../../../../sdk_proto/js/index.js";
import { FakeClock, settle } from "./clock.mjs";

export function fakeWebSocket(sockets, refused = []) {
  return class FakeWebSocket {
    readyState = 0;
    protocol = "";
    sent = [];
    closed = null;

    constructor(url, protocols) {
      if (refused.includes(url)) throw new Error(`${url} is not allowed from here`);
      this.url = url;
      this.protocols = protocols;
      sockets.push(this);
    }

    send(text) {
      if (this.readyState !== 1) throw new Error("send on a socket that is not open");
      this.sent.push(...text.split("\n").map((line) => JSON.parse(line)));
    }

    close(code, reason) {
      if (this.readyState < 2) this.closed = { code, reason };
      this.readyState = 2;
    }

    // ── the server's side ──

    accept(protocol = "taco.v1+json") {
      this.readyState = 1;
      this.protocol = protocol;
      this.onopen?.({});
    }

    say(...frames) {
      this.onmessage?.({ data: frames.map((frame) => JSON.stringify(frame)).join("\n") });
    }

    drop(code = 1006, reason = "") {
      this.readyState = 3;
      this.onclose?.({ code, reason });
    }

    frames(type) {
      return this.sent.filter((frame) => type in frame).map((frame) => frame[type]);
    }
  };
}

export function welcome(fields = {}) {
  return {
    welcome: {
      version: 1,
      session: "s-1",
      time: 1_790_000_000_000,
      heartbeat: { min: 60, max: 600, grace: 1.5, next: 240 },
      window: 32,
      max_frame: 65_536,
      reconnect: { base_ms: 500, max_ms: 60_000, factor: 2 },
      pending: 0,
      features: [],
      ...fields,
    },
  };
}

export function push(id, fields = {}) {
  return { push: { id, kind: "notification", title: "Order", priority: "normal", sent: 1_790_000_000_000, expires: 1_790_086_400_000, ...fields } };
}

/** A client with everything it touches. Jitter is half of its ceiling unless a test says otherwise. */
export function device(options = {}) {
  const sockets = [];
  const seen = { pushes: [], recalls: [], statuses: [], stops: [], errors: [] };
  const clock = options.clock ?? new FakeClock();
  const client = new Client({
    url: "ws://gateway.test/v1/connect",
    app: "courier",
    device: "d-1",
    token: "a.b.c",
    store: new MemoryStore(),
    random: () => 0.5,
    onPush: (message) => {
      seen.pushes.push(message);
    },
    onRecall: (id) => seen.recalls.push(id),
    onStatus: (status) => seen.statuses.push(status),
    onStop: (stop) => seen.stops.push(stop),
    onError: (error) => seen.errors.push(error),
    ...options,
    clock,
    WebSocket: fakeWebSocket(sockets, options.refused),
  });
  return {
    client,
    clock,
    sockets,
    ...seen,
    get socket() {
      return sockets.at(-1);
    },
    /** Starts it and brings it online. */
    async online(fields) {
      await client.start();
      await settle();
      await this.accepted(fields);
    },
    /** Accepts and welcomes the newest socket. */
    async accepted(fields) {
      this.socket.accept();
      this.socket.say(welcome(fields));
      await settle();
    },
    async say(...frames) {
      this.socket.say(...frames);
      await settle();
    },
  };
}
