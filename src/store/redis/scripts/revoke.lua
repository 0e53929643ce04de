-- ARGV: id, beginning of `us` for this app.
local link = read(ARGV[1])
if not link or string.sub(link.us, 1, #ARGV[2]) ~= ARGV[2] then return answer('unknown') end
if link.status == 'used' then return answer('used') end
if may_come_back(link) then revoke(link) end
return answer('dead')
