-- ARGV: who is not waited for any more.
redis.call('HDEL', REPLICAS, ARGV[1])
return { 'left', present() }
