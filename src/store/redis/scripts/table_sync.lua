-- ARGV: who asks, and the version that it goes by ('' if by none). Answers what has changed since, or everything.
local who, known = ARGV[1], tonumber(ARGV[2])
if known and version < known then return { 'behind', version } end
redis.call('HSET', REPLICAS, who, (known or -1) .. ' ' .. NOW)
local forgotten = tonumber(redis.call('GET', FORGOTTEN) or '0')
if not known or known < forgotten then
  local reply = { 'all', version }
  for _, text in ipairs(redis.call('HGETALL', ROUTES)) do reply[#reply + 1] = text end
  return reply
end
local reply = { 'changes', version }
if known == version then return reply end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', CHANGED, '(' .. known, '+inf')) do
  reply[#reply + 1] = key
  reply[#reply + 1] = redis.call('HGET', ROUTES, key) or ''
end
return reply
