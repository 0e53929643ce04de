-- ARGV: for how many milliseconds they are remembered, and the ids of the sessions.
local MAX = 100000
for at = 2, #ARGV do
  redis.call('ZADD', P .. 'x', NOW + ARGV[1], ARGV[at])
end
redis.call('ZREMRANGEBYSCORE', P .. 'x', '-inf', NOW)
redis.call('ZREMRANGEBYRANK', P .. 'x', 0, -MAX - 1)
if redis.call('PTTL', P .. 'x') < tonumber(ARGV[1]) then redis.call('PEXPIRE', P .. 'x', ARGV[1]) end
return answer('ended')
