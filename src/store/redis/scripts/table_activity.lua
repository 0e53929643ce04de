-- ARGV: since when the caller wants to know, and what it knows: key, milliseconds. The later time counts.
for at = 2, #ARGV, 2 do
  if redis.call('HEXISTS', ROUTES, ARGV[at]) == 1 then
    redis.call('ZADD', ACTIVITY, 'GT', ARGV[at + 1], ARGV[at])
  end
end
local reply = { 'used', present() }
local used = redis.call('ZRANGEBYSCORE', ACTIVITY, ARGV[1], '+inf', 'WITHSCORES')
for _, text in ipairs(used) do reply[#reply + 1] = text end
return reply
