-- ARGV: digest, record, life from now on, retention. The link lives longer, and nothing else of it changes.
local link = read_by_digest(ARGV[1])
if not link then return answer('unknown') end
if link.status ~= 'pending' then return answer('ended', link) end
local life = tonumber(ARGV[3])
local kept, expires = life + tonumber(ARGV[4]), NOW + life
if expires > link.exp then
  redis.call('HSET', P .. 'l:' .. link.id, 'rec', ARGV[2], 'exp', expires)
  redis.call('PEXPIRE', P .. 'l:' .. link.id, kept)
  redis.call('PEXPIRE', P .. 't:' .. link.dg, kept)
  if link.rk ~= '' then redis.call('PEXPIRE', P .. 'k:' .. link.rk, kept) end
  redis.call('ZADD', P .. 'n', expires, link.id)
  local of_user = P .. 'u:' .. link.us
  redis.call('ZADD', of_user, expires, link.id)
  if redis.call('PTTL', of_user) < life then redis.call('PEXPIRE', of_user, life) end
end
return answer('reserved')
