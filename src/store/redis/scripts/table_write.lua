-- ARGV: the version that the caller goes by, the key, what it is ('' deletes it), when it was last used.
local known_epoch, known = parse(ARGV[1])
local key, value, used = ARGV[2], ARGV[3], ARGV[4]
-- This server has forgotten what the caller knows: it was restarted, or was a replica that had missed it.
if is_earlier(epoch, version, known_epoch, known) then return { 'behind', present() } end
-- The same run as in common.lua: only in the one that has written before are its numbers given once.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not run or not replid then error('the server hides its run_id or master_replid') end
if written_in ~= run .. replid then
  local begun = string.format('%010.0f%06.0f', time[1], time[2])
  local before = string.sub(epoch, 1, 16)
  -- A clock that was set back, or is that of another server.
  if begun <= before then begun = string.format('%016.0f', tonumber(before) + 1) end
  epoch = begun .. string.sub(run, 1, 16)
  redis.call('SET', EPOCH, epoch .. ' ' .. run .. replid)
  -- To delete what is not there is a change as well: who still has it hears of it.
  redis.call('PUBLISH', P .. 'routes', present())
end
if value == '' then
  if redis.call('HDEL', ROUTES, key) == 0 then return { 'unknown', present() } end
  redis.call('ZREM', ACTIVITY, key)
else
  redis.call('HSET', ROUTES, key, value)
  redis.call('ZADD', ACTIVITY, used, key)
end
version = version + 1
redis.call('SET', VERSION, version)
redis.call('ZADD', CHANGED, version, key)
-- Of what was deleted long ago nothing is kept: whoever has missed it reads the whole table.
if redis.call('ZCARD', CHANGED) > redis.call('HLEN', ROUTES) + 2000 then
  local changes = redis.call('ZRANGE', CHANGED, 0, -1001, 'WITHSCORES')
  for at = 1, #changes, 2 do
    if redis.call('HEXISTS', ROUTES, changes[at]) == 0 then
      redis.call('ZREM', CHANGED, changes[at])
      redis.call('SET', FORGOTTEN, changes[at + 1])
    end
  end
end
redis.call('PUBLISH', P .. 'routes', present())
return { 'done', present() }
