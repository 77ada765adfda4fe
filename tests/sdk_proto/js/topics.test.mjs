import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { LIMIT, Topics } from "../../../sdk_proto/js/topics.js";
import { device } from "./support/gateway.mjs";

describe("topics", () => {
  test("only what changes is said", () => {
    const topics = new Topics();
    assert.deepEqual(topics.want(["a", "b", "a"]), [{ type: "subscribe", topics: ["a", "b"] }]);
    assert.deepEqual(topics.want(["b"]), []);
    assert.deepEqual(topics.drop(["b", "c"]), [{ type: "unsubscribe", topics: ["b"] }]);
    assert.deepEqual(topics.all(), [{ type: "subscribe", topics: ["a"] }]);
  });

  test("many topics take several frames", () => {
    const topics = new Topics();
    topics.want(Array.from({ length: 129 }, (_, number) => `t-${number}`));
    assert.deepEqual(topics.all().map((frame) => frame.topics.length), [128, 1]);
  });

  test("what no server can read, and too many, is refused, and nothing is changed", () => {
    const topics = new Topics();
    for (const bad of ["", "x".repeat(257), "a\nb", 7]) assert.throws(() => topics.want(["good", bad]), /not a topic/);
    assert.deepEqual(topics.all(), []);
    topics.want(Array.from({ length: LIMIT }, (_, number) => `t-${number}`));
    assert.throws(() => topics.want(["one more"]), /more than/);
  });

  test("each connection is told of all that is wanted", async () => {
    const it = device();
    it.client.subscribe("news", "city-021");
    await it.online();
    assert.deepEqual(it.socket.frames("subscribe"), [{ topics: ["news", "city-021"] }]);
    it.client.unsubscribe("news");
    it.client.subscribe("sports");
    assert.deepEqual(it.socket.frames("unsubscribe"), [{ topics: ["news"] }]);
    it.socket.drop();
    await it.clock.advance(it.client.status.retryMs);
    await it.accepted();
    assert.equal(it.sockets.length, 2);
    assert.deepEqual(it.socket.frames("subscribe"), [{ topics: ["city-021", "sports"] }]);
  });
});
