-- ARGV: digest.
local link = read_by_digest(ARGV[1])
return answer(link and 'link' or 'unknown', link)
