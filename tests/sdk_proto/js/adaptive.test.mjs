/** Behind networks of any memory the interval ends below it; the rules one by one are in the golden table (vectors.test.mjs). */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Acks } from "../../../sdk_proto/js/acks.js";
import { AdaptiveHeartbeat } from "../../../sdk_proto/js/adaptive.js";
import { MemoryStore } from "../../../sdk_proto/js/index.js";
import { Session } from "../../../sdk_proto/js/session.js";
import { settle } from "./support/clock.mjs";
import { device, welcome } from "./support/gateway.mjs";

const HOUR = 3_600_000;
const RTT_MS = 100;

/** A session behind a translation of addresses that forgets a connection after `forgetsS` of silence. */
class Phone {
  adaptive = new AdaptiveHeartbeat();
  now = 0;
  pings = [];
  lost = 0;

  constructor(forgetsS, state = "background") {
    this.forgetsMs = forgetsS * 1000;
    this.state = state;
    this.connect();
  }

  get intervalS() {
    return this.adaptive.intervalS("wifi", { foreground: this.state === "foreground" });
  }

  connect() {
    const hello = { app: "courier", device: "d-1", token: "a.b.c", versions: [1], network: "wifi", state: this.state };
    this.session = new Session({ hello, seen: new Set(), acks: new Acks(), adaptive: this.adaptive, now: this.now });
    this.session.opened(this.now);
    this.session.takeOutgoing();
    const heartbeat = { min: 60, max: 600, grace: 1.5, next: this.intervalS };
    this.session.receive(JSON.stringify(welcome({ heartbeat })), this.now);
    this.touched = this.now;
  }

  live(ms) {
    const end = this.now + ms;
    while (this.session.deadline <= end) {
      this.now = this.session.deadline;
      if (this.session.tick(this.now).some(({ type }) => type === "failed")) {
        this.lost += 1;
        this.now += 2_000;
        this.connect();
      }
      for (const text of this.session.takeOutgoing()) {
        assert.match(text, /"ping"/);
        this.pings.push(this.now);
        if (this.now - this.touched > this.forgetsMs) continue;
        this.touched = this.now + RTT_MS;
        this.session.receive(JSON.stringify({ pong: { time: 1 } }), this.now + RTT_MS);
      }
    }
    this.now = end;
  }
}

describe("the interval ends below what the network remembers", () => {
  for (const forgetsS of [65, 100, 151, 209, 211, 271, 333, 471, 599]) {
    test(`${forgetsS} s`, () => {
      const phone = new Phone(forgetsS);
      phone.live(4 * HOUR);
      assert.ok(phone.intervalS < forgetsS, `${phone.intervalS}`);
      assert.ok(phone.intervalS >= Math.max(60, forgetsS - 140), `${phone.intervalS}`);
      assert.ok(phone.lost <= (forgetsS < 210 ? 8 : 1), `${phone.lost}`);
      for (const [place, at] of phone.pings.slice(1).entries()) assert.ok(at - phone.pings[place] >= 60_000);
    });
  }

  test("nothing is forgotten: ten minutes, three and a half in the foreground", () => {
    const phone = new Phone(1e9);
    phone.live(6 * HOUR);
    assert.equal(phone.intervalS, 600);
    assert.equal(phone.lost, 0);
    const attentive = new Phone(1e9, "foreground");
    attentive.live(6 * HOUR);
    assert.equal(attentive.pings.at(-1) - attentive.pings.at(-2), 210_000);
  });
});

describe("a client", () => {
  test("keeps what it learned, for the network that it is told of", async () => {
    const store = new MemoryStore();
    store.set("heartbeats:courier/d-1", '[["wifi",330,270,0,0,0,100,0],["cellular",130,150,210,0,0,100,1]]');
    const it = device({ store, network: "wifi", state: "background" });
    await it.online({ heartbeat: { min: 60, max: 600, grace: 1.5, next: 330 } });
    assert.equal(it.socket.frames("hello")[0].heartbeat, 330);
    for (let ping = 1; ping <= 3; ping += 1) {
      await it.clock.advance(330_000);
      assert.deepEqual(it.socket.frames("ping").length, ping);
      await it.say({ pong: { time: 1 } });
    }
    assert.deepEqual(JSON.parse(store.get("heartbeats:courier/d-1"))[1].slice(0, 3), ["wifi", 390, 330]);
    it.client.wake("cellular");
    it.socket.drop();
    await it.clock.advance(1_000);
    assert.deepEqual([it.socket.frames("hello").length, it.sockets.length], [0, 2]);
    await it.accepted({ heartbeat: { min: 60, max: 600, grace: 1.5, next: 130 } });
    const [hello] = it.socket.frames("hello");
    assert.deepEqual([hello.network, hello.heartbeat], ["cellular", 130]);
    await it.clock.advance(130_000);
    assert.deepEqual(it.socket.frames("ping"), [{ next: 130 }]);
  });

  test("with a heartbeat of its own learns nothing", async () => {
    const store = new MemoryStore();
    const it = device({ store, heartbeat: 300 });
    await it.online({ heartbeat: { min: 60, max: 600, grace: 1.5, next: 300 } });
    for (let ping = 1; ping <= 9; ping += 1) {
      await it.clock.advance(300_000);
      assert.deepEqual(it.socket.frames("ping").length, ping);
      await it.say({ pong: { time: 1 } });
    }
    assert.equal(store.get("heartbeats:courier/d-1"), null);
  });

  test("goes by the interval that a pong names", async () => {
    const it = device({ heartbeat: 300 });
    await it.online({ heartbeat: { min: 60, max: 600, grace: 1.5, next: 300 } });
    await it.clock.advance(300_000);
    await it.say({ pong: { time: 1, next: 120 } });
    await it.clock.advance(119_000);
    assert.equal(it.socket.frames("ping").length, 1);
    await it.clock.advance(1_000);
    assert.deepEqual(it.socket.frames("ping").at(-1), { next: 120 });
  });

  test("tells of a store that fails and goes on", async () => {
    const store = new MemoryStore();
    store.set = (key) => {
      if (key.startsWith("heartbeats:")) throw new Error("full");
    };
    const it = device({ store, state: "background" });
    await it.online({ heartbeat: { min: 60, max: 600, grace: 1.5, next: 210 } });
    for (let ping = 1; ping <= 3; ping += 1) {
      await it.clock.advance(210_000);
      await it.say({ pong: { time: 1 } });
    }
    await settle();
    assert.deepEqual(it.errors.map(({ kind }) => kind), ["store"]);
    assert.equal(it.client.status.state, "online");
  });
});
