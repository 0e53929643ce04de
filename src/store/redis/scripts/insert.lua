-- ARGV: capacity, retention, idempotency key or '', digest of the body, then of each link: id, digest, life, record,
-- app and user. Times are milliseconds.
local capacity, retention, key, body = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local count = (#ARGV - 4) / 5

local over = redis.call('ZRANGEBYSCORE', P .. 'n', '-inf', NOW, 'LIMIT', 0, 1000)
if #over > 0 then redis.call('ZREM', P .. 'n', unpack(over)) end

local first
if key ~= '' then
  local known_body, id = string.match(redis.call('GET', P .. 'k:' .. key) or '', '^(%S+) (%S+)$')
  first = id and read(id)
  if first then
    if known_body ~= body then return answer('other') end
    if first.st ~= 'p' then return answer('ended') end
  end
end
local freed = 0
if first and tonumber(redis.call('ZSCORE', P .. 'n', first.id) or 0) > NOW then freed = 1 end
if live() - freed + count > capacity then return answer('full') end
if first then
  leave_live(first)
  redis.call('DEL', P .. 't:' .. first.dg, P .. 'l:' .. first.id)
end

for number = 0, count - 1 do
  local at = 5 + number * 5
  local id, digest, life, record, user = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4]
  if first then id = first.id end
  local expires, kept = NOW + life, life + retention
  redis.call('HSET', P .. 'l:' .. id, 'st', 'p', 'rec', record, 'iss', NOW, 'exp', expires, 'ep', EPOCH,
    'dg', digest, 'us', user, 'rk', key)
  redis.call('PEXPIRE', P .. 'l:' .. id, kept)
  redis.call('SET', P .. 't:' .. digest, id, 'PX', kept)
  redis.call('ZADD', P .. 'n', expires, id)
  local of_user = P .. 'u:' .. user
  redis.call('ZREMRANGEBYSCORE', of_user, '-inf', NOW)
  redis.call('ZADD', of_user, expires, id)
  if redis.call('PTTL', of_user) < life then redis.call('PEXPIRE', of_user, life) end
  if key ~= '' then redis.call('SET', P .. 'k:' .. key, body .. ' ' .. id, 'PX', kept) end
end
if first then return { 'again', live(), SINCE, NOW, first.id } end
return answer('new')
