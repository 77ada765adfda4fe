import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Acks } from "../../../sdk_proto/js/acks.js";
import { Session } from "../../../sdk_proto/js/session.js";
import { push, welcome } from "./support/gateway.mjs";

const HELLO = { app: "courier", device: "d-1", token: "a.b.c", versions: [1] };

function session(seen = []) {
  return new Session({ hello: HELLO, seen: new Set(seen), acks: new Acks(), now: 0 });
}

function live(seen) {
  const it = session(seen);
  it.opened(0);
  receive(it, 0, welcome());
  sent(it);
  return it;
}

const receive = (it, now, ...frames) => it.receive(frames.map((frame) => JSON.stringify(frame)).join("\n"), now);
const sent = (it) => it.takeOutgoing().flatMap((text) => text.split("\n").map((line) => JSON.parse(line)));

describe("signing in", () => {
  test("hello is the first and only frame until welcome", () => {
    const it = session();
    assert.deepEqual(sent(it), []);
    it.opened(0);
    it.ping(1);
    assert.deepEqual(sent(it), [{ hello: HELLO }]);
    assert.equal(it.isLive, false);
    assert.equal(receive(it, 2, welcome())[0].type, "welcome");
    assert.equal(it.isLive, true);
  });

  test("what comes before welcome is ignored, a bye is not", () => {
    const it = session();
    it.opened(0);
    assert.deepEqual(receive(it, 1, push("7"), { recall: { id: "7" } }), []);
    const [bye] = receive(it, 2, { bye: { code: 4201, reason: "bad signature" } });
    assert.deepEqual(bye, { type: "bye", code: 4201, reason: "bad signature", retry_after_ms: 0 });
  });

  test("a dial and a sign-in have deadlines", () => {
    const dialling = session();
    assert.deepEqual(dialling.tick(14_999), []);
    assert.deepEqual(dialling.tick(15_000), [{ type: "failed", reason: "no connection in time" }]);
    const greeting = session();
    greeting.opened(10_000);
    assert.equal(greeting.deadline, 25_000);
    assert.deepEqual(greeting.tick(25_000), [{ type: "failed", reason: "no welcome in time" }]);
    assert.equal(greeting.deadline, null);
  });

  test("a version that was not offered fails the session", () => {
    const it = session();
    it.opened(0);
    assert.equal(receive(it, 1, welcome({ version: 2 }))[0].type, "failed");
  });
});

describe("life", () => {
  test("a ping is due after the interval in force and says when the next comes", () => {
    const it = live();
    assert.equal(it.deadline, 240_000);
    it.tick(239_999);
    assert.deepEqual(sent(it), []);
    it.tick(240_000);
    assert.deepEqual(sent(it), [{ ping: { next: 240 } }]);
  });

  test("silence after a ping fails the session", () => {
    const it = live();
    it.tick(240_000);
    assert.deepEqual(it.tick(249_999), []);
    assert.deepEqual(it.tick(250_000), [{ type: "failed", reason: "no answer to a ping" }]);
  });

  test("any frame after a ping is a sign of life", () => {
    const it = live();
    it.tick(240_000);
    receive(it, 245_000, push("7"));
    assert.deepEqual(it.tick(250_000), []);
    assert.equal(it.isLive, true);
  });

  test("acks do not put off the ping, which alone has an answer", () => {
    const it = live(["7"]);
    for (let now = 0; now < 240_000; now += 10_000) {
      receive(it, now, push("7", { again: true }));
      it.tick(now + 50);
    }
    sent(it);
    it.tick(240_000);
    assert.deepEqual(sent(it), [{ ping: { next: 240 } }]);
  });

  test("another heartbeat is clamped to the server's bounds and told at once", () => {
    const it = live();
    it.setHeartbeat(5, 1_000);
    assert.deepEqual(sent(it), [{ ping: { next: 60 } }]);
    receive(it, 1_100, { pong: { time: 1 } });
    assert.equal(it.deadline, 61_000);
    it.setHeartbeat(1, 2_000);
    assert.deepEqual(sent(it), [], "the same after clamping: nothing to tell");
  });
});

describe("pushes", () => {
  test("a new one is an event and is not acked by the session", () => {
    const it = live();
    const [event] = receive(it, 10, push("9223372036854775807", { data: { order: 1 } }));
    assert.equal(event.type, "push");
    assert.equal(event.id, "9223372036854775807");
    assert.deepEqual(event.data, { order: 1 });
    it.tick(1_000);
    assert.deepEqual(sent(it), []);
  });

  test("a known one is acked again and no event", () => {
    const it = live(["7"]);
    assert.deepEqual(receive(it, 10, push("7", { again: true })), []);
    it.tick(60);
    assert.deepEqual(sent(it), [{ ack: { ids: ["7"], status: "received" } }]);
  });

  test("one that can't be read is reported as undecodable, and the session lives", () => {
    const it = live();
    const [event] = receive(it, 10, push("7", { data: "text" }));
    assert.deepEqual([event.type, event.id], ["undecodable", "7"]);
    it.tick(60);
    assert.deepEqual(sent(it), [{ ack: { ids: ["7"], status: "undecodable" } }]);
    assert.equal(it.isLive, true);
  });

  test("several frames of one message come in their order", () => {
    const it = live();
    const events = receive(it, 10, push("7"), { recall: { id: "7" } }, push("8"));
    assert.deepEqual(events.map(({ type, id }) => [type, id]), [["push", "7"], ["recall", "7"], ["push", "8"]]);
  });
});

describe("what does not belong", () => {
  test("unknown frames and fields are ignored", () => {
    const it = live();
    const events = receive(it, 10, { confetti: { amount: 7 } }, push("7", { colour: "red" }));
    assert.deepEqual(events.map(({ type }) => type), ["push"]);
    assert.equal("colour" in events[0], false);
  });

  for (const [what, message] of [
    ["not JSON", "{"],
    ["two keys", '{"pong":{"time":1},"push":{}}'],
    ["an array", "[1]"],
    ["an id that is a number", '{"push":{"id":7302}}'],
    ["an empty message", "\n"],
    ["a binary message", new ArrayBuffer(2)],
  ]) {
    test(`${what} fails the session`, () => {
      const it = live();
      const [event] = it.receive(message, 10);
      assert.equal(event.type, "failed");
      assert.match(event.reason, /^not a frame: /);
      assert.deepEqual(it.receive(JSON.stringify(push("7")), 11), [], "and nothing is heard after it");
    });
  }

  test("nothing after a bye counts", () => {
    const it = live();
    const events = receive(it, 10, { bye: { code: 4000, retry_after_ms: 70 } }, push("7"));
    assert.deepEqual(events.map(({ type }) => type), ["bye"]);
    assert.equal(it.deadline, null);
  });
});

test("what changed while hello was on its way is told after the welcome", () => {
  const it = session();
  it.opened(0);
  it.setState("background", 0);
  it.setHeartbeat(100, 1);
  assert.deepEqual(sent(it), [{ hello: HELLO }]);
  receive(it, 2, welcome());
  assert.deepEqual(sent(it), [{ state: { app: "background" } }, { ping: { next: 100 } }]);
});

test("acks of a long offline time go out in messages that the server takes", () => {
  const acks = new Acks();
  for (let id = 0; id < 4_000; id += 1) acks.add(String(7302000000000000000n + BigInt(id)), "clicked", 0);
  const it = new Session({ hello: HELLO, seen: new Set(), acks, now: 0 });
  it.opened(0);
  it.takeOutgoing();
  receive(it, 0, welcome());
  const messages = it.takeOutgoing();
  assert.ok(messages.length > 1);
  assert.ok(messages.every((message) => message.length <= 65_536));
  const ids = messages.flatMap((message) => message.split("\n").flatMap((line) => JSON.parse(line).ack.ids));
  assert.equal(ids.length, 4_000);
});

test("going to the background is told", () => {
  const it = live();
  it.setState("background", 0);
  assert.deepEqual(sent(it), [{ state: { app: "background" } }]);
});
