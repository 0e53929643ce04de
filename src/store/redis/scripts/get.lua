-- ARGV: id, beginning of `us` for this app.
local link = read(ARGV[1])
if not link or string.sub(link.us, 1, #ARGV[2]) ~= ARGV[2] then return answer('unknown') end
return answer('link', link)
