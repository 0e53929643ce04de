-- What the scripts of the routing table begin with. KEYS[1] is the prefix of all keys.
--
-- {prefix}routes           hash    key of a route -> what it is (JSON)
-- {prefix}routes:version   string  counts the changes
-- {prefix}routes:changed   zset    key of a route -> the version of its last change; a deleted one stays for a while
-- {prefix}routes:forgotten string  the last version whose deletions are not known any more
-- {prefix}routes:activity  zset    key of a route -> when it was last used, in milliseconds
-- {prefix}routes:replicas  hash    a hublatch -> the version that it goes by, and when it said so
local P = KEYS[1]
local ROUTES, CHANGED, ACTIVITY = P .. 'routes', P .. 'routes:changed', P .. 'routes:activity'
local VERSION, FORGOTTEN, REPLICAS = P .. 'routes:version', P .. 'routes:forgotten', P .. 'routes:replicas'
local version = tonumber(redis.call('GET', VERSION) or '0')

local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)
