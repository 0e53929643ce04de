-- ARGV: app and user.
local revoked = 0
for _, id in ipairs(redis.call('ZRANGE', P .. 'u:' .. ARGV[1], 0, -1)) do
  local link = read(id)
  if link and may_come_back(link) then
    if link.status == 'pending' then revoked = revoked + 1 end
    revoke(link)
  end
end
return { 'revoked', live(), SINCE, NOW, revoked }
