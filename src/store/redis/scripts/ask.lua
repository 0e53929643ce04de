-- ARGV: digest, name, life in milliseconds. Whether a login is under way, and what was left: taken once.
-- {prefix}n:{name}, string: somebody asks for what may be left.
local under_way = redis.call('GET', KEYS[1] .. 'w:' .. ARGV[1])
local left = redis.call('GET', KEYS[1] .. 'a:' .. ARGV[2])
if left then
  redis.call('UNLINK', KEYS[1] .. 'a:' .. ARGV[2])
elseif under_way then
  redis.call('SET', KEYS[1] .. 'n:' .. ARGV[2], '1', 'PX', ARGV[3])
end
return { under_way and 1 or 0, left }
