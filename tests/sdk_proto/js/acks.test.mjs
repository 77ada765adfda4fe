import assert from "node:assert/strict";
import { test } from "node:test";

import { Acks, BATCH_MS } from "../../../sdk_proto/js/acks.js";

test("acks of 50 ms go out together, a frame for each status", () => {
  const acks = new Acks();
  assert.equal(acks.dueAt, null);
  acks.add("1", "received", 100);
  acks.add("2", "received", 140);
  acks.add("1", "displayed", 149);
  acks.add("1", "received", 149);
  assert.equal(acks.dueAt, 100 + BATCH_MS);
  assert.deepEqual(acks.take(), [
    { type: "ack", ids: ["1", "2"], status: "received" },
    { type: "ack", ids: ["1"], status: "displayed" },
  ]);
  assert.equal(acks.dueAt, null);
  assert.deepEqual(acks.take(), []);
});

test("a frame holds at most 500 ids", () => {
  const acks = new Acks();
  for (let id = 1; id <= 1_001; id += 1) acks.add(String(id), "received", 0);
  assert.deepEqual(acks.take().map(({ ids }) => ids.length), [500, 500, 1]);
});

test("a report is sent again on the next connection until a pong confirmed it", () => {
  const acks = new Acks();
  acks.add("1", "displayed", 0);
  acks.add("2", "received", 0);
  acks.take();
  acks.reopen(32, 10);
  assert.equal(acks.dueAt, 10, "at once");
  assert.deepEqual(acks.take(), [{ type: "ack", ids: ["1"], status: "displayed" }]);
  const mark = acks.mark;
  acks.add("3", "clicked", 20);
  acks.take();
  acks.confirm(mark);
  acks.reopen(32, 30);
  assert.deepEqual(acks.take(), [{ type: "ack", ids: ["3"], status: "clicked" }]);
  acks.confirm(acks.mark);
  acks.reopen(32, 40);
  assert.equal(acks.dueAt, null);
});

test("without a connection the oldest give way and are counted", () => {
  const acks = new Acks();
  for (let id = 1; id <= 4_100; id += 1) acks.add(String(id), "clicked", 0);
  assert.equal(acks.dropped, 4);
  assert.equal(acks.take()[0].ids[0], "5");
});

test("a batch waits for no more than half of the window, which is when the server goes on", () => {
  const acks = new Acks();
  acks.reopen(32, 0);
  for (let id = 1; id < 16; id += 1) acks.add(String(id), "received", 10);
  assert.equal(acks.dueAt, 60);
  acks.add("16", "received", 12);
  assert.equal(acks.dueAt, 12);
});
