-- learn takes in what came of a request.
--
-- KEYS: state, windows, leases. ARGV: 1 lease that ends, 2 bucket, 3 hold, 4 why, 5 latency (0: no answer), 6 1 where the
--   rate was refused, 7 window of the provider's count, 8 what is left of it, 9 until its reset, 10 window of a second, 11
--   its length, 12 its requests, 13 the provider's count of that second and 14 what is left of it (-1: it does not say), 15
--   silence of the account where a bucket is held, 16 least share, 17 cut after a refusal, 18 cut for others, 19 cut for
--   slowness, 20 raise, 21 pause between changes, 22 pause between cuts for slowness, 23 slow: times the usual, 24 and at
--   least. Times are in microseconds.
local SPACED, KEPT = 20, 60
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function num(v, default) return tonumber(v or '') or default end
local function int(v) return string.format('%.0f', v) end
local function arg(i) return tonumber(ARGV[i]) end

if ARGV[1] ~= '' then redis.call('ZREM', KEYS[3], ARGV[1]) end

-- The longest hold counts, and none is taken back.
local function hold(field, till)
  if till > num(redis.call('HGET', KEYS[1], field), 0) then
    redis.call('HSET', KEYS[1], field, int(till), 'why', ARGV[4])
  end
end
if arg(3) > 0 then
  if ARGV[2] ~= '' then
    hold('hold ' .. ARGV[2], now + arg(3))
    hold('hold', now + math.min(arg(3), arg(15)))
  else
    hold('hold', now + arg(3))
  end
end

-- Answers overtake each other: of one window the lowest count is the newest.
if ARGV[7] ~= '' then
  local left, reset = arg(8) - redis.call('ZCARD', KEYS[3]), now + arg(9)
  local known = redis.call('HMGET', KEYS[1], 'left ' .. ARGV[7], 'reset ' .. ARGV[7])
  if num(known[2], 0) > now and reset - num(known[2], 0) < 5000000 then
    left, reset = math.min(left, num(known[1], left)), math.max(reset, num(known[2], 0))
  end
  redis.call('HSET', KEYS[1], 'left ' .. ARGV[7], int(left), 'reset ' .. ARGV[7], int(reset))
end

local st = redis.call('HMGET', KEYS[1], 'share', 'cut', 'raised', 'slowed', 'usual', 'recent')
local share, cut, raised, slowed = num(st[1], 1), num(st[2], 0), num(st[3], 0), num(st[4], 0)
local usual, recent = num(st[5], 0), num(st[6], 0)
local slow = false
if arg(5) > 0 then
  if usual == 0 then usual, recent = arg(5), arg(5) end
  recent = recent + 0.3 * (arg(5) - recent)
  slow = recent > usual * arg(23) and recent > arg(24)
  usual = usual + 0.02 * (arg(5) - usual)
  redis.call('HSET', KEYS[1], 'usual', int(usual), 'recent', int(recent))
end

-- What others use of the second is what the provider counts beyond ours.
local room = 1
if arg(13) > 0 and arg(14) >= 0 then
  -- The provider counted when the request came in, an answer's time ago.
  local length = math.floor(arg(11) / SPACED)
  local slot, own = math.floor(now / length), 0
  local oldest = math.floor((now - arg(11) - arg(5)) / length) - 1
  if oldest >= slot - KEPT then
    for s = oldest, slot do own = own + num(redis.call('HGET', KEYS[2], ARGV[10] .. ' ' .. int(s)), 0) end
    local others = math.max(arg(13) - arg(14) - own, 0)
    redis.call('HSET', KEYS[1], 'others', int(others))
    if others > 0 then room = math.max((arg(13) - others) / arg(12), arg(16)) end
  end
end

local was = share
local function lower(by, least)
  if now - cut >= arg(21) then share, cut = math.max(share * by, least, arg(16)), now end
end
if arg(6) == 1 then
  lower(arg(17), 0)
elseif share > room then
  lower(arg(18), room)
elseif slow then
  if now - slowed >= arg(22) then
    slowed = now
    lower(arg(19), 0)
  end
elseif arg(5) > 0 and share < room and now - math.max(cut, raised) >= arg(21) then
  share, raised = math.min(share + arg(20), room), now
end
if share ~= was then
  redis.call('HSET', KEYS[1], 'share', string.format('%.4f', share), 'cut', int(cut), 'raised', int(raised), 'slowed', int(slowed))
end
redis.call('PEXPIRE', KEYS[1], 90000000)
return 0
