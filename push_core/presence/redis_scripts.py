"""What presence has Redis do in one step. Keys, fields and values: `redis_layout.py`.

The scripts on routes get one bucket a device, all of one tag, and can't see leases, which lie elsewhere in a Cluster. So where an
answer depends on whether another lease is alive they change nothing and hand the standing route back; the caller finds out and asks again,
naming the leases that are dead: a dead one never comes back to life.
"""

from push_core.redis.client import Script

_DEAD = """
local dead = {}
for i = 1, #ARGV[1], 4 do dead[string.sub(ARGV[1], i, i + 3)] = true end
"""

LOCATE = Script("""
-- KEYS: bucket of each device. ARGV: field of each. Answers: value or nil of each.
local call, found = redis.call, {}
for i = 1, #KEYS do found[i] = call('HGET', KEYS[i], ARGV[i]) end
return found
""")

SIGN_IN = Script(
    """
-- KEYS: bucket of each route. ARGV: dead leases, then field and value of each.
-- Answers: {value or nil that stood before each, positions that were left as they were}.
-- Left are those that the same installation holds with a higher attempt, and later ones of the same device.
local call, byte, sub = redis.call, string.byte, string.sub
"""
    + _DEAD
    + """
local function attempt(value, length)
  local number = 0
  for i = 16, 15 + length do number = number * 256 + byte(value, i) end
  return number
end
local olds, left, held = {}, {}, nil
for i = 1, #KEYS do
  local key, field, new = KEYS[i], ARGV[2 * i], ARGV[2 * i + 1]
  local old = call('HGET', key, field)
  local stays = held and held[key .. field]
  if old and not stays and not dead[sub(old, 1, 4)] then
    local was, is = byte(old, 15), byte(new, 15)
    local was_length, is_length = was % 16, is % 16
    if is >= 16 and was - was_length == is - is_length and sub(old, 16 + was_length) == sub(new, 16 + is_length) then
      stays = attempt(old, was_length) > attempt(new, is_length)
    end
  end
  if stays then
    held = held or {}
    held[key .. field] = true
    left[#left + 1] = i
  else
    call('HSET', key, field, new)
  end
  olds[i] = old
end
return {olds, left}
"""
)

REGISTER_AGAIN = Script(
    """
-- KEYS: bucket of each route. ARGV: dead leases, then field and value of each.
-- Answers for each: 1 it stands now, 0 a newer one of the same lease stands, or the lease of another one that stands.
local call, sub, unpack = redis.call, string.sub, struct.unpack
"""
    + _DEAD
    + """
local answers = {}
for i = 1, #KEYS do
  local key, field, new = KEYS[i], ARGV[2 * i], ARGV[2 * i + 1]
  local old = call('HGET', key, field)
  local lease = old and sub(old, 1, 4)
  if lease and not dead[lease] and lease ~= sub(new, 1, 4) then
    answers[i] = lease
  elseif lease and not dead[lease] and unpack('>I4', sub(old, 5, 8)) > unpack('>I4', sub(new, 5, 8)) then
    answers[i] = 0
  else
    call('HSET', key, field, new)
    answers[i] = 1
  end
end
return answers
"""
)

SIGN_OUT = Script("""
-- KEYS: bucket of each route. ARGV: field of each and the first 8 bytes of its value. Answers: 1 removed, 0 it was not this one.
local call, sub = redis.call, string.sub
local answers = {}
for i = 1, #KEYS do
  local old = call('HGET', KEYS[i], ARGV[2 * i - 1])
  answers[i] = 0
  if old and sub(old, 1, 8) == ARGV[2 * i] then answers[i] = call('HDEL', KEYS[i], ARGV[2 * i - 1]) end
end
return answers
""")

SWEEP = Script(
    """
-- KEYS: buckets. ARGV: dead leases, live leases, most entries to remove.
-- Answers: {how many were removed, 1 if the most was reached, leases of neither kind that were met}.
local call, sub = redis.call, string.sub
"""
    + _DEAD
    + """
local alive, met, unknown = {}, {}, {}
for i = 1, #ARGV[2], 4 do alive[sub(ARGV[2], i, i + 3)] = true end
local removed, most = 0, tonumber(ARGV[3])
for i = 1, #KEYS do
  local entries = call('HGETALL', KEYS[i])
  for j = 2, #entries, 2 do
    local lease = sub(entries[j], 1, 4)
    if dead[lease] then
      if removed >= most then return {removed, 1, unknown} end
      removed = removed + call('HDEL', KEYS[i], entries[j - 1])
    elseif not alive[lease] and not met[lease] then
      met[lease] = true
      unknown[#unknown + 1] = lease
    end
  end
end
return {removed, 0, unknown}
"""
)

LEASE = Script("""
-- KEYS: the lease, all leases, the layout. ARGV: lease, record, ms to live, 1 to renew or 0 to take, layout, most leases to remember.
-- Answers: 1 done, 0 nothing to renew, or taken already.
local layout = redis.call('GET', KEYS[3])
if layout ~= ARGV[5] then
  if layout then return redis.error_reply('LAYOUT is ' .. layout) end
  redis.call('SET', KEYS[3], ARGV[5])
end
if redis.call('EXISTS', KEYS[1]) ~= tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], redis.call('TIME')[1], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[6])
return 1
""")

CENSUS = Script("""
-- KEYS: all leases, the layout. ARGV: layout, prefix of leases' keys, which lie beside these two.
-- Answers: lease, its record or nil, lease, its record or nil …, by their last renewal.
local layout = redis.call('GET', KEYS[2])
if layout and layout ~= ARGV[1] then return redis.error_reply('LAYOUT is ' .. layout) end
local answers = {}
for i, lease in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local hex = string.gsub(lease, '.', function(c) return string.format('%02x', string.byte(c)) end)
  answers[2 * i - 1], answers[2 * i] = lease, redis.call('GET', ARGV[2] .. hex)
end
return answers
""")

ALL = (LOCATE, SIGN_IN, REGISTER_AGAIN, SIGN_OUT, SWEEP, LEASE, CENSUS)
