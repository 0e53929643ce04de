-- What every script begins with. KEYS[1] is the prefix of all keys; in a cluster its hash tag keeps them on one node.
--
-- {prefix}l:{id}      hash    one link: st (p pending, u used, r revoked), rec (JSON), iss, exp, used (server's
--                             milliseconds), ep (epoch), dg (digest), us (app and user), rk (idempotency key)
-- {prefix}t:{digest}  string  the id of the link with this token
-- {prefix}n           zset    ids of live links by expiry
-- {prefix}u:{us}      zset    the same of one user of one app
-- {prefix}k:{rk}      string  digest of the body and id of an idempotent request
-- {prefix}x           zset    ids of sessions that were ended, by when they are forgotten
-- {prefix}e           string  the present epoch, and since when it is known
local P = KEYS[1]

local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

-- A link is good for the run of the server, as primary, in which it was issued. A server that was restarted from a
-- file or put in another's place may have missed a take, and has another run_id; one that was a replica in between has
-- loaded its data anew, and has another master_replid.
local function epoch()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local replication = redis.call('INFO', 'replication')
  local replid = string.match(replication, 'master_replid:(%x+)')
  if not run or not replid or not string.find(replication, 'role:master', 1, true) then
    error('the server hides its run_id or is no primary')
  end
  return run .. ':' .. replid
end
local EPOCH = epoch()

-- Since when this epoch is known: what was burnt before it may be forgotten.
local function since()
  local known, at = string.match(redis.call('GET', P .. 'e') or '', '^(%S+) (%d+)$')
  if known == EPOCH then return tonumber(at) end
  redis.call('SET', P .. 'e', EPOCH .. ' ' .. NOW)
  -- No link of an earlier epoch can be redeemed, so none takes room.
  redis.call('UNLINK', P .. 'n')
  return NOW
end
local SINCE = since()

local function live()
  return redis.call('ZCOUNT', P .. 'n', '(' .. NOW, '+inf')
end

local FIELDS = { 'st', 'rec', 'iss', 'exp', 'used', 'ep', 'dg', 'us', 'rk' }

local function read(id)
  local values = redis.call('HMGET', P .. 'l:' .. id, unpack(FIELDS))
  if not values[1] then return nil end
  local link = { id = id }
  for at, field in ipairs(FIELDS) do link[field] = values[at] end
  link.iss, link.exp = tonumber(link.iss), tonumber(link.exp)
  if link.st == 'u' then
    link.status = 'used'
  elseif link.st == 'r' then
    link.status = 'revoked'
  elseif link.st == 'p' and link.ep == EPOCH and NOW < link.exp and NOW >= link.iss - 2000 then
    link.status = 'pending'
  else
    link.status = 'expired'
  end
  return link
end

local function read_by_digest(digest)
  local id = redis.call('GET', P .. 't:' .. digest)
  local link = id and read(id)
  if link and link.dg == digest then return link end
  return nil
end

local function leave_live(link)
  redis.call('ZREM', P .. 'n', link.id)
  redis.call('ZREM', P .. 'u:' .. link.us, link.id)
end

-- One of another epoch is dead here, and yet it is marked: a slot of a cluster can come back to where it was.
local function may_come_back(link)
  return link.st == 'p' and NOW < link.exp
end

local function revoke(link)
  redis.call('HSET', P .. 'l:' .. link.id, 'st', 'r')
  leave_live(link)
  link.st, link.status = 'r', 'revoked'
end

local function answer(word, link)
  if not link then return { word, live(), SINCE, NOW } end
  return { word, live(), SINCE, NOW, link.id, link.status, link.rec, link.dg, NOW, link.iss, link.exp, tonumber(link.used) or 0 }
end
