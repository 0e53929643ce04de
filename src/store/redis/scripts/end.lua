-- ARGV: digest; and what was left: its name, itself, its life in milliseconds. {prefix}a:{name}, string: an answer that
-- nobody took, sealed.
if ARGV[2] then redis.call('SET', KEYS[1] .. 'a:' .. ARGV[2], ARGV[3], 'PX', ARGV[4]) end
redis.call('UNLINK', KEYS[1] .. 'w:' .. ARGV[1])
return {}
