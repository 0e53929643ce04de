-- ARGV: since when the caller wants to know, and what it knows: key, milliseconds. The later time counts.
for at = 2, #ARGV, 2 do
  if redis.call('HEXISTS', ROUTES, ARGV[at]) == 1 then
    redis.call('ZADD', ACTIVITY, 'GT', ARGV[at + 1], ARGV[at])
  end
end
local reply = { 'used', present() }
-- A caller whose clock runs ahead would hear of nobody.
local since = math.min(tonumber(ARGV[1]), NOW - 60000)
local used = redis.call('ZRANGEBYSCORE', ACTIVITY, string.format('%.0f', since), '+inf', 'WITHSCORES')
for _, text in ipairs(used) do reply[#reply + 1] = text end
return reply
