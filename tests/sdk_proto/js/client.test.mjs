import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { DropPush, MemoryStore } from "../../../sdk_proto/js/index.js";
import { settle } from "./support/clock.mjs";
import { device, push, welcome } from "./support/gateway.mjs";

describe("signing in", () => {
  test("hello says who it is, which installation and which attempt", async () => {
    const store = new MemoryStore();
    const it = device({ store, heartbeat: 120, window: 16, network: "wifi" });
    await it.online();
    const [hello] = it.socket.frames("hello");
    assert.deepEqual(
      { ...hello, install: hello.install.length },
      { app: "courier", device: "d-1", token: "a.b.c", versions: [1], install: 32, attempt: 1, heartbeat: 120, window: 16, state: "foreground", sdk: "js/1.0.0", network: "wifi" },
    );
    assert.deepEqual(it.socket.protocols, ["taco.v1+json"]);
    assert.equal(it.client.status.state, "online");
    assert.equal(it.client.status.session, "s-1");
    const restarted = device({ store });
    await restarted.online();
    const [next] = restarted.socket.frames("hello");
    assert.deepEqual([next.install, next.attempt], [hello.install, 2]);
  });

  test("a server that picks another subprotocol is not talked to", async () => {
    const it = device();
    await it.client.start();
    await settle();
    it.socket.accept("");
    assert.deepEqual(it.socket.sent, []);
    assert.equal(it.client.status.state, "waiting");
    assert.match(it.client.status.reason, /does not speak/);
  });

  test("an option that can't be used is named", () => {
    assert.throws(() => device({ app: "" }), /app must be a name/);
    assert.throws(() => device({ token: undefined }), /token must be/);
    assert.throws(() => device({ onPush: undefined }), /onPush must be/);
    assert.throws(() => device({ url: "http://x/" }), /not a WebSocket url/);
  });
});

describe("pushes", () => {
  test("ack comes after the handler's promise and after the id is stored", async () => {
    const store = new MemoryStore();
    const order = [];
    const set = store.set.bind(store);
    let write;
    store.set = (key, value) => {
      if (!key.startsWith("seen:")) return set(key, value);
      return new Promise((resolve) => {
        write = () => {
          order.push("stored");
          resolve(set(key, value));
        };
      });
    };
    let finish;
    const it = device({
      store,
      onPush: () =>
        new Promise((resolve) => {
          finish = () => {
            order.push("handled");
            resolve();
          };
        }),
    });
    await it.online();
    await it.say(push("7302000000000000001"));
    await it.clock.advance(10_000);
    assert.deepEqual(it.socket.frames("ack"), []);
    finish();
    await it.clock.advance(10_000);
    assert.deepEqual(it.socket.frames("ack"), []);
    write();
    await it.clock.advance(51);
    assert.deepEqual(order, ["handled", "stored"]);
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["7302000000000000001"], status: "received" }]);
  });

  test("acks within 50 ms are one frame", async () => {
    const it = device();
    await it.online();
    await it.say(push("1"), push("2"));
    await it.clock.advance(20);
    await it.say(push("3"));
    await it.clock.advance(31);
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1", "2", "3"], status: "received" }]);
  });

  test("one that comes again, on this or a later connection or after a restart, is acked and shown once", async () => {
    const store = new MemoryStore();
    const it = device({ store });
    await it.online();
    await it.say(push("1"), push("1", { again: true }));
    await it.clock.advance(60);
    it.socket.drop();
    await it.clock.advance(1_000);
    await it.accepted();
    await it.say(push("1", { again: true }));
    await it.clock.advance(60);
    assert.equal(it.pushes.length, 1);
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1"], status: "received" }]);
    const restarted = device({ store });
    await restarted.online();
    await restarted.say(push("1", { again: true }));
    await restarted.clock.advance(60);
    assert.equal(restarted.pushes.length, 0);
    assert.deepEqual(restarted.socket.frames("ack"), [{ ids: ["1"], status: "received" }]);
  });

  test("one whose handler still runs when it comes again is handed over once, and acked on the connection there is", async () => {
    let finish;
    let calls = 0;
    const it = device({
      onPush: () => {
        calls += 1;
        return new Promise((resolve) => {
          finish = resolve;
        });
      },
    });
    await it.online();
    await it.say(push("1"));
    it.socket.drop();
    await it.clock.advance(1_000);
    await it.accepted();
    await it.say(push("1", { again: true }));
    finish();
    await it.clock.advance(60);
    assert.equal(calls, 1);
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1"], status: "received" }]);
  });

  test("a handler that fails is told, not acked, and tried again when the push comes again", async () => {
    let calls = 0;
    const it = device({
      onPush: () => {
        calls += 1;
        if (calls === 1) throw new Error("no room");
      },
    });
    await it.online();
    await it.say(push("1"));
    await it.clock.advance(1_000);
    assert.deepEqual(it.socket.frames("ack"), []);
    assert.deepEqual(it.errors.map(({ kind, id, error }) => [kind, id, error.message]), [["handler", "1", "no room"]]);
    await it.say(push("1", { again: true }));
    await it.clock.advance(60);
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1"], status: "received" }]);
  });

  test("the third failure of a handler ends the push as dropped", async () => {
    const it = device({
      onPush: () => {
        throw new Error("never");
      },
    });
    await it.online();
    for (let time = 1; time <= 3; time += 1) {
      assert.deepEqual(it.socket.frames("ack"), []);
      await it.say(push("1", { again: time > 1 }));
      await it.clock.advance(60);
    }
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1"], status: "dropped" }]);
    assert.equal(it.errors.length, 3);
  });

  test("a push that the application refuses for good is acked as dropped and does not come back", async () => {
    const it = device({
      onPush: () => {
        throw new DropPush("not for this user");
      },
    });
    await it.online();
    await it.say(push("1"));
    await it.clock.advance(60);
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1"], status: "dropped" }]);
    assert.equal(it.errors.length, 0);
  });

  test("a store that fails is told, and the push is acked all the same", async () => {
    const store = new MemoryStore();
    store.set = (key) => {
      if (key.startsWith("seen:")) throw new Error("quota");
    };
    const it = device({ store });
    await it.online();
    await it.say(push("1"), push("1", { again: true }));
    await it.clock.advance(60);
    assert.equal(it.pushes.length, 1);
    assert.equal(it.errors[0].kind, "store");
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1"], status: "received" }]);
  });

  test("a recall takes the notification away and counts as seen", async () => {
    const it = device();
    await it.online();
    await it.say({ recall: { id: "1" } }, push("1"));
    await it.clock.advance(60);
    assert.deepEqual(it.recalls, ["1"]);
    assert.equal(it.pushes.length, 0);
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1"], status: "received" }]);
  });

  test("displayed and clicked are reported, those of an offline time after the next welcome", async () => {
    const it = device({ heartbeat: 240 });
    await it.online();
    it.client.displayed("1");
    await it.clock.advance(60);
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1"], status: "displayed" }]);
    await it.clock.advance(240_000);
    await it.say({ pong: { time: 1 } });
    it.client.stop();
    it.client.clicked("1");
    await it.client.start();
    await settle();
    it.socket.accept();
    assert.deepEqual(it.socket.frames("ack"), [], "hello is the first frame");
    it.socket.say(welcome());
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1"], status: "clicked" }]);
    assert.throws(() => it.client.displayed(7), /not a message id/);
  });
});

describe("reconnecting", () => {
  test("waits with full jitter below a ceiling that grows, as the server set it", async () => {
    const it = device({ random: () => 0.5 });
    await it.online({ reconnect: { base_ms: 1_000, max_ms: 5_000, factor: 2 } });
    const waits = [];
    for (let round = 0; round < 5; round += 1) {
      it.socket.drop();
      waits.push(it.client.status.retryMs);
      await it.clock.advance(it.client.status.retryMs);
      assert.equal(it.client.status.state, "connecting");
    }
    assert.deepEqual(waits, [500, 1_000, 2_000, 2_500, 2_500]);
    assert.equal(it.sockets.length, 6);
  });

  test("a welcome alone does not reset the backoff: a server that drops everybody is not hammered", async () => {
    const it = device();
    await it.online();
    const waits = [];
    for (let round = 0; round < 3; round += 1) {
      it.socket.drop();
      waits.push(it.client.status.retryMs);
      await it.clock.advance(it.client.status.retryMs);
      await it.accepted();
    }
    assert.deepEqual(waits, [250, 500, 1_000]);
    await it.clock.advance(10_000);
    it.socket.drop();
    assert.equal(it.client.status.retryMs, 250);
  });

  test("never before retry_after_ms, not even when woken", async () => {
    const it = device();
    await it.online();
    await it.say({ bye: { code: 4003, reason: "overloaded", retry_after_ms: 30_000 } });
    it.client.wake();
    await it.clock.advance(29_999);
    assert.equal(it.sockets.length, 1);
    assert.deepEqual([it.client.status.state, it.client.status.code], ["waiting", 4003]);
    await it.clock.advance(1);
    assert.equal(it.sockets.length, 2, "woken: at the first moment allowed");
  });

  test("woken while it waits it tries at once; while connected it asks for a sign of life", async () => {
    const it = device({ random: () => 0.999 });
    await it.online({ reconnect: { base_ms: 60_000, max_ms: 60_000, factor: 2 } });
    it.client.wake();
    assert.equal(it.socket.frames("ping").length, 1);
    it.socket.drop();
    it.client.wake();
    await settle();
    assert.equal(it.sockets.length, 2);
  });

  test("a bye is enough: nobody waits for the close behind it", async () => {
    const it = device();
    await it.online();
    await it.say({ bye: { code: 4000, reason: "shutting down" } });
    assert.equal(it.client.status.state, "waiting");
    assert.notEqual(it.socket.closed, null);
    await it.clock.advance(250);
    assert.equal(it.sockets.length, 2);
  });

  test("no answer to a ping ends the connection", async () => {
    const it = device({ heartbeat: 240 });
    await it.online();
    await it.clock.advance(250_000);
    assert.equal(it.client.status.state, "waiting");
    assert.equal(it.client.status.reason, "no answer to a ping");
  });

  test("a dial that hangs is given up after its deadline", async () => {
    const it = device();
    await it.client.start();
    await it.clock.advance(15_000);
    assert.equal(it.client.status.reason, "no connection in time");
    await it.clock.advance(250);
    assert.equal(it.sockets.length, 2);
  });

  test("an address that the browser refuses outright is reported and left behind", async () => {
    const it = device({ url: ["ws://refused/", "ws://good/"], refused: ["ws://refused/"] });
    await it.client.start();
    await it.clock.advance(1_000);
    assert.equal(it.errors[0].kind, "dial");
    assert.equal(it.socket.url, "ws://good/");
  });

  test("whatever comes on a socket that was replaced or let go is ignored", async () => {
    const it = device();
    await it.online();
    const old = it.socket;
    await it.say({ bye: { code: 4000 } });
    await it.clock.advance(250);
    await it.accepted();
    old.say(push("1"), { bye: { code: 4304, reason: "blocked" } });
    old.drop(4304, "blocked");
    await settle();
    assert.equal(it.pushes.length, 0);
    assert.equal(it.client.status.state, "online");
  });
});

describe("orders", () => {
  test("4300 to 4399 stop the client and tell the application; start tries again", async () => {
    const it = device();
    await it.online();
    await it.say({ bye: { code: 4301, reason: "replaced by another installation" } });
    await it.clock.advance(1_000_000);
    assert.deepEqual(it.stops, [{ code: 4301, reason: "replaced by another installation" }]);
    assert.equal(it.client.status.state, "stopped");
    assert.equal(it.sockets.length, 1);
    assert.equal(it.clock.nextIn, null, "no timer is left");
    await it.online();
    assert.equal(it.client.status.state, "online");
  });

  test("4200 to 4299 get another token from the provider, told why", async () => {
    const asked = [];
    const it = device({
      token: ({ code }) => {
        asked.push(code);
        return `token-${asked.length}`;
      },
    });
    await it.online();
    it.socket.drop();
    await it.clock.advance(1_000);
    await it.accepted();
    assert.deepEqual(asked, [null], "a token is used as long as it serves");
    await it.say({ bye: { code: 4200, reason: "token expired" } });
    await it.clock.advance(1_000);
    it.socket.accept();
    assert.deepEqual(asked, [null, 4200]);
    assert.equal(it.socket.frames("hello")[0].token, "token-2");
  });

  test("a fixed token that is refused stops the client", async () => {
    const it = device();
    await it.client.start();
    await settle();
    it.socket.accept();
    await it.say({ bye: { code: 4201, reason: "token refused" } });
    assert.equal(it.client.status.state, "stopped");
    assert.deepEqual(it.stops, [{ code: 4201, reason: "token refused" }]);
    await it.online();
    assert.equal(it.client.status.state, "online", "start tries the same token again");
  });

  test("a provider that fails, gives nothing or hangs is tried again with backoff", async () => {
    const answers = [() => Promise.reject(new Error("offline")), () => "", () => new Promise(() => {}), () => "good"];
    const it = device({ token: () => answers.shift()() });
    await it.client.start();
    await it.clock.advance(40_000);
    assert.deepEqual(it.errors.map(({ kind }) => kind), ["token", "token", "token"]);
    await it.accepted();
    assert.equal(it.client.status.state, "online");
  });

  test("4100 goes to the next address", async () => {
    const it = device({ url: ["ws://a/", "ws://b/"] });
    await it.online();
    await it.say({ bye: { code: 4100, reason: "migrate" } });
    await it.clock.advance(250);
    assert.equal(it.socket.url, "ws://b/");
  });
});

describe("migrating", () => {
  const MIGRATE = { migrate: { urls: ["ws://new/"], after_ms: 1_000, spread_ms: 60_000, permanent: false } };

  test("the new connection is made within the spread, before the old one is let go", async () => {
    const it = device({ random: () => 0.5 });
    await it.online();
    const old = it.socket;
    await it.say(MIGRATE);
    await it.clock.advance(30_999);
    assert.equal(it.sockets.length, 1);
    await it.clock.advance(1);
    assert.equal(it.socket.url, "ws://new/");
    old.say(push("1"));
    await settle();
    assert.equal(it.pushes.length, 1, "the old one serves on");
    assert.equal(it.client.status.state, "online");
    await it.accepted({ session: "s-2" });
    assert.notEqual(old.closed, null);
    assert.equal(it.client.status.session, "s-2");
    old.say(push("2"));
    old.drop(4007, "superseded");
    await settle();
    assert.equal(it.pushes.length, 1);
    assert.equal(it.client.status.state, "online");
  });

  test("the old one may be superseded before the new one is welcomed", async () => {
    const it = device();
    await it.online();
    const old = it.socket;
    await it.say(MIGRATE);
    await it.clock.advance(31_000);
    old.say({ bye: { code: 4007, reason: "superseded" } });
    await settle();
    assert.equal(it.sockets.length, 2);
    assert.equal(it.client.status.state, "online", "nothing that an application should show");
    await it.accepted();
    await it.clock.advance(5_000);
    assert.equal(it.sockets.length, 2);
    assert.equal(it.client.status.state, "online");
  });

  test("a successor that is lost after all is missed", async () => {
    const it = device();
    await it.online();
    const old = it.socket;
    await it.say(MIGRATE);
    await it.clock.advance(31_000);
    old.say({ bye: { code: 4007, reason: "superseded" } });
    await settle();
    it.socket.drop();
    await settle();
    assert.notEqual(it.client.status.state, "online");
    await it.clock.advance(1_000);
    await it.accepted();
    assert.equal(it.client.status.state, "online");
  });

  test("closed with 4100 before its turn came it goes at once, and where it was told", async () => {
    const it = device({ random: () => 0.5 });
    await it.online();
    await it.say(MIGRATE);
    await it.say({ bye: { code: 4100, reason: "emptied", retry_after_ms: 2_000 } });
    await it.clock.advance(1_999);
    assert.equal(it.sockets.length, 1);
    await it.clock.advance(600);
    assert.equal(it.socket.url, "ws://new/");
  });

  test("an address that can't be reached leaves the old connection alone", async () => {
    const it = device();
    await it.online();
    await it.say(MIGRATE);
    await it.clock.advance(31_000);
    it.socket.drop();
    assert.equal(it.client.status.state, "online");
    await it.clock.advance(1_000);
    assert.equal(it.socket.url, "ws://gateway.test/v1/connect", "and home is tried next");
  });
});

describe("stopping", () => {
  test("acks that wait are sent, and nothing happens after", async () => {
    const it = device();
    await it.online();
    await it.say(push("1"));
    it.client.stop();
    assert.deepEqual(it.socket.frames("ack"), [{ ids: ["1"], status: "received" }]);
    assert.equal(it.socket.closed.code, 1000);
    await it.say(push("2"));
    await it.clock.advance(1_000_000);
    assert.equal(it.pushes.length, 1);
    assert.equal(it.sockets.length, 1);
    assert.equal(it.client.status.state, "offline");
  });

  test("stopping while a token is fetched leaves no connection, and a quick restart makes one", async () => {
    const gates = [];
    const it = device({ token: () => new Promise((resolve) => gates.push(resolve)) });
    await it.client.start();
    it.client.stop();
    await it.client.start();
    await settle();
    for (const open of gates) open("good");
    await settle();
    assert.equal(it.sockets.length, 1);
  });

  test("a callback that throws is reported and ends nothing", async () => {
    const it = device({
      onRecall: () => {
        throw new Error("mine");
      },
    });
    await it.online();
    await it.say({ recall: { id: "1" } }, push("2"));
    assert.deepEqual(it.errors.map(({ kind }) => kind), ["callback"]);
    assert.equal(it.pushes.length, 1);
  });

  test("the application's state is told, and is in the next hello", async () => {
    const it = device();
    await it.online();
    it.client.setState("background");
    assert.deepEqual(it.socket.frames("state"), [{ app: "background" }]);
    it.socket.drop();
    await it.clock.advance(1_000);
    it.socket.accept();
    assert.equal(it.socket.frames("hello")[0].state, "background");
  });
});
