import assert from "node:assert/strict";
import { test } from "node:test";

import { Addresses } from "../../../sdk_proto/js/addresses.js";
import { Backoff } from "../../../sdk_proto/js/backoff.js";
import { CloseCode, orderOf } from "../../../sdk_proto/js/close.js";
import { isId } from "../../../sdk_proto/js/codec.js";
import { Identity } from "../../../sdk_proto/js/identity.js";
import { MemoryStore } from "../../../sdk_proto/js/store.js";

test("the range of a close code is the order", () => {
  const expected = {
    reconnect: [null, undefined, 1000, 1002, 1006, 1007, 1009, 3999, 4000, 4008, 4099, 4400, 4999],
    elsewhere: [4100, 4107, 4199],
    new_token: [4200, 4201, 4299],
    stop: [4300, 4301, 4303, 4304, 4305, 4399],
  };
  for (const [order, codes] of Object.entries(expected)) {
    for (const code of codes) assert.equal(orderOf(code), order, `${code}`);
  }
  assert.equal(orderOf(CloseCode.REPLACED), "stop");
});

test("backoff doubles its ceiling up to the server's maximum, with full jitter", () => {
  let random = 0.999;
  const backoff = new Backoff(() => random);
  backoff.configure({ base_ms: 100, max_ms: 1_000, factor: 2 });
  assert.deepEqual([0, 1, 2, 3, 4, 5].map(() => Math.ceil(backoff.nextMs())), [100, 200, 400, 800, 999, 999]);
  random = 0;
  assert.equal(backoff.nextMs(), 0);
  backoff.reset();
  assert.equal(backoff.ceilingMs, 100);
  backoff.attempt = 1_000_000;
  assert.equal(backoff.ceilingMs, 1_000);
});

test("an address that fails is followed by the next, in a circle", () => {
  const addresses = new Addresses(["wss://a/", "wss://b/"]);
  const met = [0, 1, 2].map(() => {
    const { next } = addresses;
    addresses.failed();
    return next;
  });
  assert.deepEqual(met, ["wss://a/", "wss://b/", "wss://a/"]);
});

test("a migration is a detour for one connection unless it is permanent", () => {
  const addresses = new Addresses("wss://home/");
  addresses.migrate({ urls: ["wss://x/"], permanent: false });
  assert.equal(addresses.next, "wss://x/");
  addresses.reached();
  assert.equal(addresses.next, "wss://home/");
  addresses.migrate({ urls: ["wss://x/"], permanent: true });
  addresses.reached();
  assert.equal(addresses.next, "wss://x/");
});

test("a detour that can't be reached is given up", () => {
  const addresses = new Addresses("wss://home/");
  addresses.migrate({ urls: ["wss://x/", "wss://y/"], permanent: false });
  addresses.failed();
  assert.equal(addresses.next, "wss://y/");
  addresses.failed();
  assert.equal(addresses.next, "wss://home/");
});

test("nobody is talked down from TLS to plain text, nor to something else", () => {
  const addresses = new Addresses("wss://home/");
  addresses.migrate({ urls: ["ws://x/", "https://x/", "nonsense"], permanent: true });
  assert.equal(addresses.next, "wss://home/");
  assert.throws(() => new Addresses("http://home/"), /not a WebSocket url/);
});

test("ids are decimal text of 63 bits", () => {
  for (const id of ["1", "7302000000000000001", "9223372036854775807"]) assert.equal(isId(id), true, id);
  for (const id of ["0", "", "01", "-1", "9223372036854775808", "99999999999999999999", "7e3", 7, null]) assert.equal(isId(id), false, `${id}`);
});

test("attempts rise over restarts and over two pages of one installation", async () => {
  const store = new MemoryStore();
  const fail = (error) => assert.fail(error);
  const one = new Identity(store, "courier/d-1");
  const two = new Identity(store, "courier/d-1");
  const first = await one.nextAttempt(fail);
  const second = await two.nextAttempt(fail);
  const third = await one.nextAttempt(fail);
  assert.equal(first.install.length, 32);
  assert.deepEqual([second.install, third.install], [first.install, first.install]);
  assert.deepEqual([first.attempt, second.attempt, third.attempt], [1, 2, 3]);
});

test("attempts rise in memory while the store fails", async () => {
  const errors = [];
  const broken = {
    get: () => Promise.reject(new Error("gone")),
    set: () => {
      throw new Error("gone");
    },
  };
  const identity = new Identity(broken, "courier/d-1");
  const first = await identity.nextAttempt((error) => errors.push(error));
  const second = await identity.nextAttempt((error) => errors.push(error));
  assert.deepEqual([first.attempt, second.attempt, second.install === first.install], [1, 2, true]);
  assert.equal(errors.length, 4);
});
