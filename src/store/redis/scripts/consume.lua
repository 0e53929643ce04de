-- ARGV: digest. The one take: a script is atomic, and what it decides is bound to the epoch.
local link = read_by_digest(ARGV[1])
if not link then return answer('unknown') end
if link.status ~= 'pending' then return answer('ended', link) end
redis.call('HSET', P .. 'l:' .. link.id, 'st', 'u', 'used', NOW)
leave_live(link)
link.used, link.status = NOW, 'used'
return answer('granted', link)
