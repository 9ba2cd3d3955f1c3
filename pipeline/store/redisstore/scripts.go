package redisstore

import "github.com/redis/go-redis/v9"

// A Lua error does not undo what a script wrote before it (Redis manual, "Scripting with Lua"). Hence the order in
// every script: check owner, standing and types, write images, write the offset last. Numbers are compared as text,
// since Lua 5.1 numbers are doubles.

// checks defines kind(key), bad(key, type) and judge(), which returns nil where the caller may go on. The number of
// images and timers is kept beside the offset, because a Redis that evicts, or somebody's DEL, can take one key and
// leave the others. More than that number is no fault: a script that broke off leaves some.
const checks = `
local function kind(key)
  local t = redis.call('TYPE', key)
  if type(t) == 'table' then t = t.ok end
  return t
end
local function bad(key, want)
  local t = kind(key)
  if t == 'none' or t == want then return nil end
  return {'corrupt', key .. ' is a ' .. t}
end
local function judge()
  local wrong = bad(KEYS[1], 'hash')
  if wrong then return wrong end
  local f = redis.call('HMGET', KEYS[1], 'owner', 'chg', 'gen', 'applied', 'bchg', 'bgen', 'bapplied', 'images', 'timers', 'bimages', 'btimers')
  if f[1] and f[1] ~= ARGV[1] then return {'fenced', f[1]} end
  local chg, gen, applied, images, timers = f[2] or '', f[3] or '0', f[4] or '0', f[8], f[9]
  if ARGV[5] == '1' then chg, gen, applied, images, timers = f[5] or '', f[6] or '', f[7] or '', f[10], f[11] end
  if not f[1] or chg ~= ARGV[2] or gen ~= ARGV[3] or applied ~= ARGV[4] then
    return {'rolledback', chg, gen, applied}
  end
  wrong = bad(KEYS[2], 'hash') or bad(KEYS[3], 'zset')
  if wrong then return wrong end
  if images and redis.call('HLEN', KEYS[2]) < tonumber(images) then return {'corrupt', KEYS[2] .. ' lost fields'} end
  if timers and redis.call('ZCARD', KEYS[3]) < tonumber(timers) then return {'corrupt', KEYS[3] .. ' lost members'} end
end
`

var claimScript = redis.NewScript(checks + `
local wrong = bad(KEYS[1], 'hash')
if wrong then return wrong end
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
local f = redis.call('HMGET', KEYS[1], 'chg', 'applied', 'gen', 'at', 'meta')
return {'ok', f[1] or '', f[2] or '0', f[3] or '0', f[4] or '0', f[5] or ''}
`)

var readScript = redis.NewScript(checks + `
local no = judge()
if no then return no end
local out = {'ok'}
for i = 6, #ARGV, 200 do
  local part = redis.call('HMGET', KEYS[2], unpack(ARGV, i, math.min(i + 199, #ARGV)))
  for j = 1, #part do out[#out + 1] = part[j] or '' end
end
return out
`)

var deadlinesScript = redis.NewScript(checks + `
local no = judge()
if no then return no end
local out = {'ok', redis.call('ZCARD', KEYS[3])}
local due = redis.call('ZRANGEBYSCORE', KEYS[3], ARGV[6], ARGV[7], 'WITHSCORES', 'LIMIT', 0, ARGV[8])
for i = 1, #due do out[#out + 1] = due[i] end
return out
`)

var applyScript = redis.NewScript(checks + `
local no = judge()
if no then return no end
local at = 13
local function each(command, key, count)
  local stop = at + count - 1
  while at <= stop do
    local to = math.min(at + 199, stop)
    redis.call(command, key, unpack(ARGV, at, to))
    at = to + 1
  end
end
each('HSET', KEYS[2], tonumber(ARGV[9]))
each('HDEL', KEYS[2], tonumber(ARGV[10]))
each('ZADD', KEYS[3], tonumber(ARGV[11]))
each('ZREM', KEYS[3], tonumber(ARGV[12]))
local b = ''
if ARGV[5] == '1' then b = 'b' end
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], b .. 'meta', ARGV[8]) end
redis.call('HSET', KEYS[1], b .. 'images', redis.call('HLEN', KEYS[2]), b .. 'timers', redis.call('ZCARD', KEYS[3]),
  b .. 'at', ARGV[7], b .. 'applied', ARGV[6])
return {'ok'}
`)

// rebuildScript names the generation's keys itself: they share the tag of KEYS[1], hence its slot.
var rebuildScript = redis.NewScript(checks + `
local wrong = bad(KEYS[1], 'hash')
if wrong then return wrong end
local f = redis.call('HMGET', KEYS[1], 'owner', 'gen', 'bgen')
if not f[1] then return {'rolledback'} end
if f[1] ~= ARGV[1] then return {'fenced', f[1]} end
local gen = tonumber(f[2] or '0')
local old = f[3] and tonumber(f[3])
if old then
  redis.call('UNLINK', ARGV[4] .. ':g' .. old .. ':images', ARGV[4] .. ':g' .. old .. ':timers')
  if old > gen then gen = old end
end
local new = string.format('%d', gen + 1)
redis.call('UNLINK', ARGV[4] .. ':g' .. new .. ':images', ARGV[4] .. ':g' .. new .. ':timers')
redis.call('HDEL', KEYS[1], 'bmeta', 'bat', 'bimages', 'btimers')
redis.call('HSET', KEYS[1], 'bchg', ARGV[2], 'bapplied', ARGV[3], 'bgen', new)
return {'ok', new}
`)

var switchScript = redis.NewScript(checks + `
local no = judge()
if no then return no end
local f = redis.call('HMGET', KEYS[1], 'gen', 'bmeta', 'bat')
local old = f[1] or '0'
if f[2] then redis.call('HSET', KEYS[1], 'meta', f[2]) else redis.call('HDEL', KEYS[1], 'meta') end
if f[3] then redis.call('HSET', KEYS[1], 'at', f[3]) else redis.call('HDEL', KEYS[1], 'at') end
redis.call('HSET', KEYS[1], 'chg', ARGV[2], 'gen', ARGV[3], 'applied', ARGV[4])
redis.call('HSET', KEYS[1], 'images', redis.call('HLEN', KEYS[2]), 'timers', redis.call('ZCARD', KEYS[3]))
redis.call('HDEL', KEYS[1], 'bchg', 'bgen', 'bapplied', 'bmeta', 'bat', 'bimages', 'btimers')
redis.call('UNLINK', ARGV[6] .. ':g' .. old .. ':images', ARGV[6] .. ':g' .. old .. ':timers')
return {'ok'}
`)
