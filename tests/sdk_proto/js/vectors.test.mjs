/** The golden vectors in sdk_proto/vectors, which every implementation of `taco.v1` reads. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { AdaptiveHeartbeat } from "../../../sdk_proto/js/adaptive.js";
import { Backoff } from "../../../sdk_proto/js/backoff.js";
import { orderOf } from "../../../sdk_proto/js/close.js";
import { FrameError, decodeServer, encode } from "../../../sdk_proto/js/codec.js";
import { DropPush, MemoryStore } from "../../../sdk_proto/js/index.js";
import { FakeClock } from "./support/clock.mjs";
import { device, push } from "./support/gateway.mjs";

const vectors = (name) =>
  JSON.parse(readFileSync(new URL(`../../../sdk_proto/vectors/${name}.json`, import.meta.url), "utf8")).vectors;
const lines = (text) => text.split("\n").map((line) => JSON.parse(line));
const toFrames = (list) => list.map((frame) => Object.entries(frame).map(([type, fields]) => ({ type, ...fields }))[0]);

/** Fields that an encoder may leave out because their value is the default, taken out on both sides. */
function bare(value) {
  if (Array.isArray(value)) return value.map(bare);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([, it]) => it !== null && it !== false && !(Array.isArray(it) && it.length === 0));
  return Object.fromEntries(kept.map(([name, it]) => [name, bare(it)]));
}

describe("frames that can be read", () => {
  for (const { name, direction, frames, json, canonical } of vectors("frames")) {
    if (json === null) continue;
    if (direction === "server") {
      test(`reads: ${name}`, () => {
        const read = decodeServer(json).map(({ why, ...frame }) => frame);
        assert.deepEqual(read, toFrames(frames));
      });
    }
    if (canonical && direction === "client") {
      test(`writes: ${name}`, () => assert.deepEqual(bare(lines(encode(toFrames(frames)))), bare(lines(json))));
    }
  }
});

describe("messages that must be refused", () => {
  for (const { name, direction, json } of vectors("invalid")) {
    if (direction !== "server" || json === null) continue;
    test(name, () => assert.throws(() => decodeServer(json), FrameError));
  }
});

test("close codes", () => {
  for (const { code, order } of vectors("close")) assert.equal(orderOf(code), order, `${code}`);
});

describe("adaptive heartbeat", () => {
  for (const { name, stored, steps, kept } of vectors("heartbeat")) {
    test(name, () => {
      let adaptive = new AdaptiveHeartbeat(stored);
      let network = "";
      let last = null;
      for (const step of steps) {
        network = step.network ?? network;
        if (step.do === "welcomed") adaptive.welcomed(network, step.bounds ?? { min: 60, max: 600 }, step.at_s * 1000);
        else if (step.do === "answered") for (let time = 0; time < (step.times ?? 1); time += 1) adaptive.answered(network, step.quiet_s);
        else if (step.do === "lost") adaptive.lost(network, step.quiet_s, step.at_s * 1000);
        else if (step.do === "restart") adaptive = new AdaptiveHeartbeat(last);
        else assert.fail(step.do);
        last = adaptive.takeChanged() ?? last;
        assert.equal(adaptive.intervalS(network, { foreground: false }), step.background_s, JSON.stringify(step));
        assert.equal(adaptive.intervalS(network, { foreground: true }), step.foreground_s, JSON.stringify(step));
      }
      assert.deepEqual(JSON.parse(last), kept);
    });
  }
});

describe("backoff", () => {
  for (const { name, reconnect, failures, retry_after_ms: floor, random, ceiling_ms: ceiling, delay_ms: delay } of vectors("backoff")) {
    test(name, () => {
      const backoff = new Backoff(() => random);
      backoff.configure(reconnect);
      for (let failure = 0; failure < failures; failure += 1) backoff.nextMs();
      assert.equal(backoff.ceilingMs, ceiling);
      assert.ok(Math.abs(floor + backoff.nextMs() - delay) < 1e-6);
    });
  }
});

describe("once on the screen, always acked", () => {
  const FAR = 8_000_000_000_000;

  /** A client, and each step of a vector done to it. */
  class Bench {
    store = new MemoryStore();
    clock = new FakeClock();
    behaviour = "returns";

    async begin() {
      this.it = device({
        store: this.store,
        clock: this.clock,
        onPush: (message) => {
          this.shown.push(message.id);
          if (this.behaviour === "fails") throw new Error("failed");
          if (this.behaviour === "drops") throw new DropPush("refused");
        },
      });
      await this.it.online();
    }

    async step({ do: action, id, expires = FAR, handler = "returns", first, count }) {
      this.shown = [];
      this.behaviour = handler;
      const before = this.it.socket;
      const acked = before.frames("ack").length;
      if (action === "push") await this.it.say(push(id, { expires }));
      if (action === "recall") await this.it.say({ recall: { id } });
      if (action === "undecodable") await this.it.say({ push: { id, data: "not an object" } });
      if (action === "many") {
        for (let at = 0; at < count; at += 1) this.it.socket.say(push(String(BigInt(first) + BigInt(at)), { expires }));
      }
      if (action === "reconnect") {
        before.drop();
        await this.clock.advance(this.it.client.status.retryMs);
        await this.it.accepted();
      }
      if (action === "restart") {
        this.it.client.stop();
        await this.begin();
      }
      await this.clock.advance(60);
      const frames = this.it.socket === before ? before.frames("ack").slice(acked) : this.it.socket.frames("ack");
      return frames.flatMap(({ ids, status }) => ids.map((one) => [one, status]));
    }
  }

  const known = ["push", "undecodable", "recall", "many", "reconnect", "restart"];
  for (const { name, steps } of vectors("dedup")) {
    test(name, async () => {
      const bench = new Bench();
      await bench.begin();
      for (const [number, step] of steps.entries()) {
        assert.ok(known.includes(step.do), `step ${number}: ${step.do}`);
        const acks = await bench.step(step);
        if (step.do === "many") {
          assert.deepEqual([bench.shown.length, acks.length], [step.count, step.count], `step ${number}`);
        } else {
          assert.deepEqual([bench.shown.length > 0, acks], [step.shown, step.acks], `step ${number}`);
        }
      }
    });
  }
});
