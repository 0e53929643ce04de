-- ARGV: digest, life in milliseconds. {prefix}w:{digest}, string: a login with this token is under way.
redis.call('SET', KEYS[1] .. 'w:' .. ARGV[1], '1', 'PX', ARGV[2])
return {}
