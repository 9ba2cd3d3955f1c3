-- take grants one request of an account, or says when to ask again. Nothing is reserved: whoever asks when it is time
-- goes, so that somebody who wakes up late cannot bunch requests up.
--
-- KEYS: state, windows, leases, waiting, uses; all of one account, in one slot of a cluster.
-- ARGV: 1 epoch and 2 number of turns that the process saw last, 3 a word for the epoch should a new one begin, 4 silence after that,
--   5 use, 6 who waits, 7 how many wait there, 8 lease, 9 leases at most, 10 length of a lease, 11 grace, 12 how much a
--   late turn may be made up for, 13 longest wait, 14 credit, 15 bucket, 16 rest of the hold that the process knows of,
--   17 margin of spaced windows, 18 pause before a lease is looked for again; then of each window: name, requests,
--   length, 1 if spaced, 1 if of the bucket. Times are in microseconds.
-- Returns: wait (0: granted; -1: the process has to restore first), epoch, number of turns, now, why.
local SLOTS, SPACED = 60, 20
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function num(v, default) return tonumber(v or '') or default end
local function int(v) return string.format('%.0f', v) end
local function arg(i) return tonumber(ARGV[i]) end

local use, who, waiting, lease, bucket = ARGV[5], ARGV[6], arg(7), ARGV[8], ARGV[15]
local st = redis.call('HMGET', KEYS[1], 'epoch', 'turns', 'next', 'hold', 'quiet', 'v', 'share', 'next ' .. bucket, 'hold ' .. bucket)
local epoch, turns = st[1], num(st[2], 0)
local next, hold, quiet, v, share = num(st[3], 0), num(st[4], 0), num(st[5], 0), num(st[6], 0), num(st[7], 1)

-- Redis lost its memory, or was set back: what was sent in the last second is unknown, so a second passes first, in which
-- those who know restore what they know. An epoch is named by its beginning: one that is older than what the process saw
-- has come back.
local function began(e) return num(string.match(e or '', '^%d+'), 0) end
if not epoch or (epoch == ARGV[1] and turns < arg(2)) or began(epoch) < began(ARGV[1]) then
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  epoch, turns, next, quiet, v = int(math.max(now, began(ARGV[1]) + 1)) .. ' ' .. ARGV[3], 0, 0, now + arg(4), 0
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'turns', 0, 'next', 0, 'quiet', int(quiet), 'v', 0)
end
if ARGV[1] ~= '' and ARGV[1] ~= epoch then return { -1, epoch, turns, now, 'restore' } end

if now + arg(16) > hold and arg(16) > 0 then
  hold = now + arg(16)
  redis.call('HSET', KEYS[1], 'hold', int(hold))
end

local at, why = now, ''
local function later(time, reason)
  if time > at then at, why = time, reason end
end
later(next, 'rate')
later(hold, 'hold')
later(quiet, 'start')
local nextIn = num(st[8], 0)
if bucket ~= '' then
  later(nextIn, 'bucket')
  later(num(st[9], 0), 'hold')
end

local spacing, spacingIn, counted = 0, 0, {}
for i = 19, #ARGV, 5 do
  local name, requests, per, spaced, within = ARGV[i], arg(i + 1), arg(i + 2), ARGV[i + 3] == '1', ARGV[i + 4] == '1'
  -- A spaced window is kept for three of its lengths: learn looks back by the time that an answer took.
  local length = math.floor(per / (spaced and SPACED or SLOTS))
  local slot = math.floor(now / length)
  local w = redis.call('HMGET', KEYS[2], name .. ' first', name .. ' total')
  local first, total = num(w[1], slot), num(w[2], 0)
  -- A slot counts until all of it is out of the window, so that no window holds more, wherever it begins.
  for s = first, math.min(slot - SLOTS - 1, first + SLOTS) do
    local n = redis.call('HGET', KEYS[2], name .. ' ' .. int(s))
    if n then
      total = total - n
      redis.call('HDEL', KEYS[2], name .. ' ' .. int(s))
    end
  end
  if first < slot - SLOTS then first = slot - SLOTS end
  redis.call('HSET', KEYS[2], name .. ' first', int(first), name .. ' total', int(total))
  if spaced then
    local s = (per + arg(17)) / requests
    if within then spacingIn = math.max(spacingIn, s) else spacing = math.max(spacing, s / share) end
  elseif total >= requests then
    while first < slot and not redis.call('HGET', KEYS[2], name .. ' ' .. int(first)) do first = first + 1 end
    later((first + SLOTS + 1) * length, within and 'bucket' or 'window')
  end
  if not spaced and not within then
    local told = redis.call('HMGET', KEYS[1], 'left ' .. name, 'reset ' .. name)
    if num(told[2], 0) > now and num(told[1], 1) <= 0 then later(num(told[2], 0), 'window') end
  end
  counted[#counted + 1] = { name, int(slot) }
end

if arg(9) > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(now))
  if not redis.call('ZSCORE', KEYS[3], lease) and redis.call('ZCARD', KEYS[3]) >= arg(9) then
    later(now + arg(18), 'parallel')
  end
end

-- Who had least goes first among those who wait: by start-time fair queueing, each turn costs its use one.
local function start(u)
  return math.max(num(redis.call('HGET', KEYS[5], u), v), v - arg(14))
end
local mine = start(use)
if at <= now then
  local all = redis.call('HGETALL', KEYS[4])
  for i = 1, #all, 2 do
    local other, from, till = string.match(all[i], '^[^\t]*'), string.match(all[i + 1], '^%d+ (%d+) (%d+)$')
    from, till = tonumber(from), tonumber(till)
    if till < now then
      redis.call('HDEL', KEYS[4], all[i])
    elseif other ~= use and from <= now and start(other) < mine then
      later(math.min(till, from + arg(11)) + 1, 'share')
    end
  end
end

if at > now then
  local wait = math.min(at - now, arg(13))
  redis.call('HSET', KEYS[4], who, int(waiting) .. ' ' .. int(at) .. ' ' .. int(now + wait + arg(11)))
  redis.call('PEXPIRE', KEYS[4], 90000000)
  return { math.ceil(wait), epoch, turns, now, why }
end

turns = turns + 1
-- Every turn is a spacing after the one before; one that was taken a little late makes up for it.
next = math.max(next, now - arg(12)) + spacing
redis.call('HSET', KEYS[1], 'turns', int(turns), 'next', int(next), 'v', int(math.max(v, mine)))
if bucket ~= '' and spacingIn > 0 then
  redis.call('HSET', KEYS[1], 'next ' .. bucket, int(math.max(nextIn, now - arg(12)) + spacingIn))
end
for _, c in ipairs(counted) do
  redis.call('HINCRBY', KEYS[2], c[1] .. ' ' .. c[2], 1)
  redis.call('HINCRBY', KEYS[2], c[1] .. ' total', 1)
  if redis.call('HEXISTS', KEYS[1], 'left ' .. c[1]) == 1 then redis.call('HINCRBY', KEYS[1], 'left ' .. c[1], -1) end
end
if arg(9) > 0 then redis.call('ZADD', KEYS[3], int(now + arg(10)), lease) end
redis.call('HSET', KEYS[5], use, int(mine + 1))
if waiting > 1 then
  redis.call('HSET', KEYS[4], who, int(waiting - 1) .. ' ' .. int(next) .. ' ' .. int(math.max(next, now) + arg(11)))
else
  redis.call('HDEL', KEYS[4], who)
end
for i = 1, 5 do redis.call('PEXPIRE', KEYS[i], 90000000) end
return { 0, epoch, turns, now, '' }
