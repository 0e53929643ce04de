-- ARGV: the version that the caller goes by, the key, what it is ('' deletes it), when it was last used.
local known, key, value, used = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
-- This server has forgotten what the caller knows: it was restarted, or was a replica that had missed it.
if version < known then return { 'behind', version } end
if value == '' then
  if redis.call('HDEL', ROUTES, key) == 0 then return { 'unknown', version } end
  redis.call('ZREM', ACTIVITY, key)
else
  redis.call('HSET', ROUTES, key, value)
  redis.call('ZADD', ACTIVITY, used, key)
end
version = version + 1
redis.call('SET', VERSION, version)
redis.call('ZADD', CHANGED, version, key)
-- Of what was deleted long ago nothing is kept: whoever has missed it reads the whole table.
if redis.call('ZCARD', CHANGED) > redis.call('HLEN', ROUTES) + 2000 then
  local changes = redis.call('ZRANGE', CHANGED, 0, -1001, 'WITHSCORES')
  for at = 1, #changes, 2 do
    if redis.call('HEXISTS', ROUTES, changes[at]) == 0 then
      redis.call('ZREM', CHANGED, changes[at])
      redis.call('SET', FORGOTTEN, changes[at + 1])
    end
  end
end
redis.call('PUBLISH', P .. 'routes', version)
return { 'done', version }
