-- ARGV: name. Whether somebody asks for it.
return { redis.call('GET', KEYS[1] .. 'n:' .. ARGV[1]) and 1 or 0 }
