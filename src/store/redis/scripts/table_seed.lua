-- ARGV: the version that the caller goes by, and its whole table: key, what it is. For a server that has forgotten it.
-- The table keeps its name: of two callers the one that knows more is heard, whichever comes first. A write begins a new
-- epoch, which is later than that of every caller: what was written is not undone by what somebody remembers.
local known_epoch, known = parse(ARGV[1])
if not is_earlier(epoch, version, known_epoch, known) then return { 'known', present() } end
redis.call('UNLINK', ROUTES, CHANGED)
epoch, version = known_epoch, known
for at = 2, #ARGV, 2 do
  redis.call('HSET', ROUTES, ARGV[at], ARGV[at + 1])
  redis.call('ZADD', CHANGED, version, ARGV[at])
end
redis.call('SET', VERSION, version)
redis.call('SET', EPOCH, epoch .. ' ')
redis.call('SET', FORGOTTEN, version)
redis.call('PUBLISH', P .. 'routes', present())
return { 'seeded', present() }
