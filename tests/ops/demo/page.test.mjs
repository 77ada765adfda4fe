import assert from "node:assert/strict";
import { test } from "node:test";
import { execFileSync } from "node:child_process";

import { FieldError, toCurl, toMessage } from "../../../ops/demo/static/request.js";
import { funnel, isOpen, isRecallable, isSettled } from "../../../ops/demo/static/states.js";

const FIELDS = { device: "d-1", title: "", body: "", priority: "normal", ttl: "", collapse: "", channels: "auto", data: "" };

test("what is left empty is left to the product's defaults", () => {
  assert.deepEqual(toMessage(FIELDS), { target: { device: "d-1" } });
});

test("what is filled in is in the message, with its type", () => {
  const message = toMessage({ ...FIELDS, title: "t", body: "b", priority: "urgent", ttl: " 60 ", collapse: "c", channels: "long", data: '{"n":1}' });
  assert.deepEqual(message, { target: { device: "d-1" }, title: "t", body: "b", priority: "urgent", ttl: 60, collapse: "c", channels: "long", data: { n: 1 } });
  assert.equal(toMessage({ ...FIELDS, ttl: "0" }).ttl, 0);
  assert.equal(toMessage({ ...FIELDS, ttl: "-5" }).ttl, -5, "whether a number may be is the API's to say");
});

test("a text that can't be read names its field", () => {
  for (const [field, text] of [["ttl", "soon"], ["ttl", "1.5"], ["data", "{"]]) {
    assert.throws(() => toMessage({ ...FIELDS, [field]: text }), (error) => error instanceof FieldError && error.field === field);
  }
});

test("a shell takes the curl line as it stands, whatever is in the message", () => {
  const message = { target: { device: "d-1" }, title: "it's $HOME `id` \"x\" \\ \n!" };
  const line = toCurl("http://127.0.0.1:8080", message);
  const shown = execFileSync("sh", ["-c", `curl() { for last; do :; done; printf %s "$last"; }\n${line}`], { encoding: "utf8" });
  assert.deepEqual(JSON.parse(shown), message);
});

test("the funnel counts how far messages came, and where the others are", () => {
  const states = ["accepted", "sending", "waiting", "waiting", "delivered", "displayed", "clicked", "expired", "recalled"];
  const stages = Object.fromEntries(funnel(states).map(({ stage, count, detail }) => [stage, [count, detail]]));
  assert.deepEqual(stages, {
    accepted: [9, ""],
    under_way: [4, "1 accepted · 1 sending · 2 waiting"],
    delivered: [3, ""],
    displayed: [2, ""],
    clicked: [1, ""],
    ended: [2, "1 expired · 1 recalled"],
  });
});

test("only what can still move is asked for, and recalled", () => {
  assert.deepEqual(["accepted", "sending", "waiting", "vendor"].map(isOpen), [true, true, true, true]);
  assert.deepEqual(["delivered", "clicked", "expired"].map(isOpen), [false, false, false]);
  assert.deepEqual(["delivered", "displayed", "clicked", "recalled"].map(isSettled), [false, false, true, true]);
  assert.equal(isRecallable("delivered", null), true);
  assert.equal(isRecallable("delivered", 17), false);
  assert.equal(isRecallable("expired", null), false);
});
