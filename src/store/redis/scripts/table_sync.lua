-- ARGV: who asks, and the version that it goes by ('' if by none). Answers what has changed since, or everything.
local who, known_epoch, known = ARGV[1], parse(ARGV[2])
if known and is_earlier(epoch, version, known_epoch, known) then return { 'behind', present() } end
redis.call('HSET', REPLICAS, who, (known and ARGV[2] or ':-1') .. ' ' .. NOW)
local forgotten = tonumber(redis.call('GET', FORGOTTEN) or '0')
if not known or known_epoch ~= epoch or known < forgotten then
  local reply = { 'all', present() }
  for _, text in ipairs(redis.call('HGETALL', ROUTES)) do reply[#reply + 1] = text end
  return reply
end
local reply = { 'changes', present() }
if known == version then return reply end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', CHANGED, '(' .. known, '+inf')) do
  reply[#reply + 1] = key
  reply[#reply + 1] = redis.call('HGET', ROUTES, key) or ''
end
return reply
