-- ARGV: app and user.
local revoked = 0
for _, id in ipairs(redis.call('ZRANGE', P .. 'u:' .. ARGV[1], 0, -1)) do
  local link = read(id)
  if link and link.status == 'pending' then
    revoke(link)
    revoked = revoked + 1
  end
end
return { 'revoked', live(), SINCE, revoked }
