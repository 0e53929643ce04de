-- ARGV: the version that the caller goes by, and its whole table: key, what it is. For a server that has forgotten it.
local known = tonumber(ARGV[1])
if version >= known then return { 'known', version } end
redis.call('UNLINK', ROUTES, CHANGED)
version = known + 1
for at = 2, #ARGV, 2 do
  redis.call('HSET', ROUTES, ARGV[at], ARGV[at + 1])
  redis.call('ZADD', CHANGED, version, ARGV[at])
end
redis.call('SET', VERSION, version)
redis.call('SET', FORGOTTEN, version)
redis.call('PUBLISH', P .. 'routes', version)
return { 'seeded', version }
