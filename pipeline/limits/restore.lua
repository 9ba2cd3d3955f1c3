-- restore adds what a process knows to a Redis that lost its memory, and keeps the leases of its requests.
--
-- KEYS: state, windows, leases. ARGV: 1 epoch, 2 rest of the hold that the process knows of, 3 length of a lease, 4 number
--   of leases, their names, then of each count: window, length of its slots, slot, requests. Times are in microseconds.
-- Returns 1; 0 where the epoch is another one by now.
local SLOTS = 60
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function int(v) return string.format('%.0f', v) end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
local till = now + tonumber(ARGV[2])
if till > now and till > (tonumber(redis.call('HGET', KEYS[1], 'hold') or '') or 0) then
  redis.call('HSET', KEYS[1], 'hold', int(till))
end
local leases = tonumber(ARGV[4])
for i = 5, 4 + leases do redis.call('ZADD', KEYS[3], int(now + tonumber(ARGV[3])), ARGV[i]) end
for i = 5 + leases, #ARGV, 4 do
  local name, slot, n = ARGV[i], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local current = math.floor(now / tonumber(ARGV[i + 1]))
  if slot >= current - SLOTS and slot <= current then
    redis.call('HINCRBY', KEYS[2], name .. ' ' .. int(slot), n)
    redis.call('HINCRBY', KEYS[2], name .. ' total', n)
    local first = tonumber(redis.call('HGET', KEYS[2], name .. ' first') or '') or current
    redis.call('HSET', KEYS[2], name .. ' first', int(math.min(first, slot)))
  end
end
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], 90000000) end
return 1
