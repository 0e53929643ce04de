-- What the scripts of the routing table begin with. KEYS[1] is the prefix of all keys.
--
-- {prefix}routes           hash    key of a route -> what it is (JSON)
-- {prefix}routes:version   string  counts the changes
-- {prefix}routes:epoch     string  which history that number belongs to, and the run of the server that wrote it (if any)
-- {prefix}routes:changed   zset    key of a route -> the version of its last change; a deleted one stays for a while
-- {prefix}routes:forgotten string  the last version whose deletions are not known any more
-- {prefix}routes:activity  zset    key of a route -> when it was last used, in milliseconds
-- {prefix}routes:replicas  hash    a hublatch -> the version that it goes by, and when it said so
local P = KEYS[1]
local ROUTES, CHANGED, ACTIVITY = P .. 'routes', P .. 'routes:changed', P .. 'routes:activity'
local VERSION, FORGOTTEN, REPLICAS = P .. 'routes:version', P .. 'routes:forgotten', P .. 'routes:replicas'
local EPOCH = P .. 'routes:epoch'
local version = tonumber(redis.call('GET', VERSION) or '0')
local epoch, written_in = string.match(redis.call('GET', EPOCH) or ' ', '^(%x*) (%S*)$')

-- A number alone does not name a table: a server that has lost its last changes gives their numbers to others. The first
-- write to a server that was started, or told the table, therefore begins an epoch. Epochs begin with the time, so the
-- later of two is the greater one; '' is that of a table that was never written.
-- As text: the epoch, a colon and the number.
local function parse(text)
  local of, number = string.match(text, '^(%x*):(-?%d+)$')
  return of, tonumber(number)
end
local function is_earlier(epoch1, number1, epoch2, number2)
  if epoch1 ~= epoch2 then return epoch1 < epoch2 end
  return number1 < number2
end
local function present() return epoch .. ':' .. string.format('%.0f', version) end

local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)
