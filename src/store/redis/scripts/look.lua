-- ARGV: digest, name. Whether a login is under way, and what was left: taken once.
local left = redis.call('GET', KEYS[1] .. 'a:' .. ARGV[2])
if left then redis.call('UNLINK', KEYS[1] .. 'a:' .. ARGV[2]) end
return { redis.call('GET', KEYS[1] .. 'w:' .. ARGV[1]) and 1 or 0, left }
