import assert from "node:assert/strict";
import { test } from "node:test";

import { Seen } from "../../../sdk_proto/js/seen.js";
import { MemoryStore } from "../../../sdk_proto/js/store.js";

const OWNER = "courier/d-1";
const LATER = 1_790_086_400_000;
const NOW = 1_790_000_000_000;

async function remembered(store, owner = OWNER) {
  const seen = new Seen(store, owner);
  await seen.load();
  return seen;
}

test("an id is known at once, and over a restart", async () => {
  const store = new MemoryStore();
  const seen = await remembered(store);
  const stored = seen.add("7302000000000000001", LATER, NOW);
  assert.equal(seen.has("7302000000000000001"), true);
  await stored;
  assert.equal((await remembered(store)).has("7302000000000000001"), true);
});

test("two apps with one device name, and two devices of one app, know nothing of each other", async () => {
  const store = new MemoryStore();
  await (await remembered(store, "a/d")).add("1", LATER, NOW);
  assert.equal((await remembered(store, "b/d")).has("1"), false);
  assert.equal((await remembered(store, "a/e")).has("1"), false);
});

test("the newest 2,048 stay over restarts at any point, and the store is bounded", async () => {
  const store = new MemoryStore();
  const keys = new Set();
  const set = store.set.bind(store);
  store.set = (key, value) => {
    keys.add(key);
    set(key, value);
  };
  let seen = await remembered(store);
  for (let id = 1; id <= 5_000; id += 1) {
    await seen.add(String(id), LATER, NOW);
    if (id % 777 === 0) seen = await remembered(store);
  }
  for (const it of [seen, await remembered(store)]) {
    for (let id = 5_000 - 2_047; id <= 5_000; id += 1) assert.equal(it.has(String(id)), true, `${id} is forgotten`);
    assert.equal(it.has("1"), false);
    assert.ok(it.size <= 2_048 + 128, `${it.size} are kept`);
  }
  assert.equal(keys.size, 17);
});

test("what expired gives up its place, in memory and in the store", async () => {
  const store = new MemoryStore();
  const seen = await remembered(store);
  for (let id = 1; id <= 128; id += 1) await seen.add(String(id), NOW + 10, NOW);
  await seen.add("129", LATER, NOW + 11);
  assert.equal(seen.size, 1);
  assert.equal((await remembered(store)).size, 1);
});

test("a slow store never loses an id to an older write", async () => {
  const store = new MemoryStore();
  const slow = {
    get: (key) => store.get(key),
    remove: (key) => store.remove(key),
    set: (key, value) =>
      new Promise((resolve) => {
        // the first write would land last
        const turns = value.length < 60 ? 3 : 0;
        const land = (left) => (left === 0 ? resolve(store.set(key, value)) : setImmediate(land, left - 1));
        land(turns);
      }),
  };
  const seen = await remembered(slow);
  await Promise.all([seen.add("1", LATER, NOW), seen.add("2", LATER, NOW)]);
  const again = await remembered(store);
  assert.deepEqual([again.has("1"), again.has("2")], [true, true]);
});

test("a damaged store is read as far as it goes", async () => {
  const store = new MemoryStore();
  const seen = await remembered(store);
  for (let id = 1; id <= 130; id += 1) await seen.add(String(id), LATER, NOW);
  store.set(`seen:${OWNER}:0`, "{");
  const again = await remembered(store);
  assert.deepEqual([again.has("1"), again.has("130")], [false, true]);
});

test("a store that fails is told, and the id still counts for this run", async () => {
  const store = new MemoryStore();
  store.set = () => {
    throw new Error("quota");
  };
  const seen = await remembered(store);
  await assert.rejects(seen.add("1", LATER, NOW), /quota/);
  assert.equal(seen.has("1"), true);
});
